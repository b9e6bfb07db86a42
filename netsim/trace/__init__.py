"""What happened, as tables: row types, Arrow schemas, crash-safe writer, digests."""
