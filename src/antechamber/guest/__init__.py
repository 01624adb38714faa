"""What runs inside the machine; standard library only, imports nothing of the rest of Antechamber."""
