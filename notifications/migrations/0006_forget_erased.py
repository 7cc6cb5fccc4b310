import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

HASH = """
UPDATE notifications_inboundmessage
SET digest = encode(sha256(convert_to(digest, 'UTF8')), 'hex')
"""
FORGET = """
UPDATE notifications_message SET provider_message_id = ''
WHERE patient_id IN (SELECT id FROM scheduling_patient WHERE erased_at IS NOT NULL)
    AND provider_message_id <> '';
DELETE FROM notifications_preference
WHERE patient_id IN (SELECT id FROM scheduling_patient WHERE erased_at IS NOT NULL);
DELETE FROM notifications_calendarfeed
WHERE patient_id IN (SELECT id FROM scheduling_patient WHERE erased_at IS NOT NULL);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0005_webhooks'),
        ('scheduling', '0007_patient_phone'),
    ]

    operations = [
        migrations.RemoveConstraint(model_name='inboundmessage', name='inbound_once'),
        migrations.RenameField(
            model_name='inboundmessage', old_name='provider_message_id', new_name='digest'
        ),
        migrations.RunSQL(HASH, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='inboundmessage',
            name='digest',
            field=models.CharField(help_text='SHA-256, in hexadecimal', max_length=64),
        ),
        migrations.AddConstraint(
            model_name='inboundmessage',
            constraint=models.UniqueConstraint(fields=('channel', 'digest'), name='inbound_once'),
        ),
        migrations.CreateModel(
            name='KnownPatient',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('scheduling.patient',),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='knownpatient',
            trigger=pgtrigger.compiler.Trigger(name='forget', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."erased_at" IS NOT NULL AND OLD."erased_at" IS NULL)', func="\nUPDATE notifications_message SET provider_message_id = ''\nWHERE patient_id = NEW.id AND provider_message_id <> '';\nDELETE FROM notifications_preference WHERE patient_id = NEW.id;\nDELETE FROM notifications_calendarfeed WHERE patient_id = NEW.id;\nRETURN NULL;\n", hash='08fdd883cdf79654c6a21cde4fa191170d604dac', operation='UPDATE OF "erased_at"', pgid='pgtrigger_forget_126f6', table='scheduling_patient', when='AFTER')),
        ),
        migrations.RunSQL(FORGET, migrations.RunSQL.noop),
    ]
