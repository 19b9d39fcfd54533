import subprocess
import sys


def test_reading_a_verdict_needs_no_numpy() -> None:
    """It is a dependency of those who run the rule, not of those who ask what it said."""
    code = (
        "import sys; from steptrail.consumers.health.rules import HealthStatus, Verdict, Watermark; "
        "assert 'numpy' not in sys.modules; from steptrail.consumers.health.rules import Judge; Judge()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
