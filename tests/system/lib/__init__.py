"""What the system tests share. Everything here starts what it needs and ends it by its own pid."""
