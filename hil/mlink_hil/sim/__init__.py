"""The virtual Uno: programs of their own that stand behind a pseudo-terminal.

    avr_uno         the real StandardFirmata on the AVR simulator yasimavr (GPL: only the program
                    `python -m mlink_hil.sim.avr_uno` imports it, in avr_board.py)
    protocol_uno    the same seen from outside, in pure Python, where the simulator is missing
    program         what both share: arguments, pacing, pseudo-terminal, control socket
    messages        the protocol of the control socket

Nothing here is imported by the runtime or the drivers; they see a serial port.
"""
