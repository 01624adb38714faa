"""The small process beside each machine; standard library only, imports nothing of ours but `guest.protocol`."""
