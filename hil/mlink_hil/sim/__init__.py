"""Simulated boards: programs that serve a pseudo-terminal and a control socket.

    avr_uno         one board with real firmware on the AVR simulator yasimavr
    protocol_uno    one board that implements StandardFirmata's protocol in Python, without firmware
    circuit         several boards, chips and parts on one clock
    program         what they share: arguments, real time, ports, sockets
    served_board    one board in such a program, with its port and its control socket
    plan            input files of the programs and of a scene's camera

Only these programs import yasimavr (in avr_board.py), because its licence is the GPL. The runtime
and the drivers import nothing of this package; to them a simulated board is a serial port.
"""
