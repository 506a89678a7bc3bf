"""What the fixture `bench` has: boards, cameras, faults, measurements, the recording."""
