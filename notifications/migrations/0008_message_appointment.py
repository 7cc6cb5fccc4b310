from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0007_template_only'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('appointment__isnull', False), ('status', 'queued')), fields=['appointment', 'channel', 'seq'], name='message_appointment'),
        ),
    ]
