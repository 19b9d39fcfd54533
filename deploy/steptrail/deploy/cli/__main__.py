"""`python -m steptrail.deploy.cli` is `steptrail`."""

from steptrail.deploy.cli import app

if __name__ == "__main__":
    app()
