from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_whose_invitation'),
    ]

    operations = [
        migrations.AlterField(
            model_name='idempotencykey',
            name='caller',
            field=models.CharField(max_length=150),
        ),
    ]
