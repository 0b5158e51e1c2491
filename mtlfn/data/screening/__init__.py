"""What data hold and lack: held-out texts, repetitions, notices."""
