"""What others may use to try Antechamber: contract suites, the stand-in vendor, the practice world, the robot."""
