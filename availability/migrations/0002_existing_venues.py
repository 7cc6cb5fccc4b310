from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('availability', '0001_initial'),
    ]

    operations = [
        # Inference writes each row: with room beside it no index has to be written, too.
        migrations.RunSQL(
            "ALTER TABLE availability_venueavailability SET (fillfactor = 50)",
            "ALTER TABLE availability_venueavailability RESET (fillfactor)",
        ),
        # Those that were there before the trigger.
        migrations.RunSQL(
            "INSERT INTO availability_venueavailability (facility_id, tenant_id)"
            " SELECT id, tenant_id FROM scheduling_facility WHERE kind = 'venue'"
            " ON CONFLICT DO NOTHING",
            migrations.RunSQL.noop,
        ),
    ]
