"""Simulated boards: programs that serve a pseudo-terminal and a control socket.

    avr_uno         one board with real firmware on the AVR simulator yasimavr
    protocol_uno    one board that implements StandardFirmata's protocol in Python, without firmware
    wired           several boards, chips and parts on one clock
    plan            input files of the programs and of a scene's camera
    boards/         what a board is: the chip, its firmware, the stand-in without firmware
    circuit/        boards, wires and parts on one clock
    server/         what the programs share: arguments, real time, ports, sockets

Only these programs import yasimavr (in boards/avr_board.py), because its licence is the GPL. The
runtime and the drivers import nothing of this package; to them a simulated board is a serial port.
"""
