from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('availability', '0001_initial'),
    ]

    operations = [
        # Those that were there before the trigger.
        migrations.RunSQL(
            "INSERT INTO availability_venueavailability (facility_id, tenant_id)"
            " SELECT id, tenant_id FROM scheduling_facility WHERE kind = 'venue'"
            " ON CONFLICT DO NOTHING",
            migrations.RunSQL.noop,
        ),
    ]
