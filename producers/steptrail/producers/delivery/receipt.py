"""What Kafka's client calls with the delivery report of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from steptrail.producers.delivery.transport import Transport


class Receipt(list[Any]):
    """What the journal made of a message, if there is one, and what Kafka's client gives the message's report to.

    One object for both, since each that outlives `add_step` is felt, in the garbage collector, too.
    """

    __slots__ = ()
    transport: ClassVar[Transport]

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Count what became of the message."""
        counted: list[Any] = []
        transport = self.transport
        try:
            transport.count(self, error, message, counted)
        except BaseException:
            transport.count(
                self, error, message, counted
            )  # what was not done: the report does not come again
            raise
        if transport.relieving:
            transport.relieved()

    __call__ = report


def cut_report(cut: BaseException) -> tuple[Receipt, KafkaError | None, Message, list[Any]] | None:
    """The arguments for `Transport.count` of the report that was about to be counted when this was raised, as far as
    the traceback still shows them.
    """
    error: BaseException | None = cut
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_code is Receipt.report.__code__:
                found = frame.f_locals
                return found["self"], found["error"], found["message"], found.get("counted", [])
            trace = trace.tb_next
        error = error.__cause__  # Python's SystemError, where C code was told of a failure and of a result
    return None
