"""What an emitter keeps in files until it is sent: the spool, the journal, and what other processes left."""
