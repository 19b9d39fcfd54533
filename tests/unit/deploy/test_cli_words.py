"""Words that --help must know without loading what they come from are those of where they come from."""

from steptrail.consumers.web.service.lists import LIST_NAMES
from steptrail.deploy.cli.commands import documents, export, search
from steptrail.projections.reading.document_summaries import WORST_FIRST
from steptrail.projections.reading.search import KINDS


def test_export_names_every_list() -> None:
    """Those that the API writes as files, and what the store writes."""
    assert export.LISTS == LIST_NAMES


def test_documents_and_search_name_what_there_is() -> None:
    """Statuses, the worst first, and kinds of hits."""
    assert tuple(status.value.lower() for status in WORST_FIRST) == documents.STATUSES
    assert tuple(search.KIND_WORDS) == KINDS
