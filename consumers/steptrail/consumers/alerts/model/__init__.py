"""The model of alerts, without I/O: firing, silencing, and what to send."""
