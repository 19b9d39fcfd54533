"""What to do about a right that is missing; apart, since whoever only shows an error need not load Kafka's client."""

from __future__ import annotations

from typing import Final

REMEDY: Final = "`steptrail acls` prints the rights that each part needs"
