from django.db import migrations, models
from django.db.models import F, Q

# Nothing was offered there: from now on offers leave as much time as the hold window has.
SHORTEN = "UPDATE waitlist_waitlistpolicy SET min_hold = hold_window WHERE min_hold > hold_window"


class Migration(migrations.Migration):

    dependencies = [
        ('waitlist', '0011_visitors_by_joining'),
    ]

    operations = [
        migrations.RunSQL(SHORTEN, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='waitlistpolicy',
            constraint=models.CheckConstraint(condition=Q(min_hold__lte=F('hold_window')), name='policy_min_hold'),
        ),
    ]
