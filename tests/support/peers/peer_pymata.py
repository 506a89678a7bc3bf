"""pymata-express drives a board; prints what it hears as lines of JSON, and ends with its input.

Run by the venv of setup_peers.sh: it is a program of its own, under its own licence.
"""

import asyncio
import json
import sys

from pymata_express.pymata_express import PymataExpress


def report(what, value):
    sys.stderr.write(json.dumps([what, value]) + "\n")


async def run(board):
    firmware = await board.get_firmware_version()
    report("firmware", firmware.split(" ", 1)[1].strip())
    report("pins", len(board.digital_pins))

    async def heard(data):
        report({0: "input", 2: "analog"}.get(data[0], data[0]), data[2])

    await board.set_pin_mode_digital_input(7, heard)
    await board.set_pin_mode_analog_input(0, heard)
    await board.set_pin_mode_digital_output(13)
    await board.digital_write(13, 1)
    await board.set_pin_mode_pwm_output(9)
    await board.pwm_write(9, 64)
    await board.set_pin_mode_servo(10)
    await board.servo_write(10, 90)
    report("state", (await board.get_pin_state(13))[2])
    await board.set_pin_mode_i2c()
    await board.i2c_read(0x42, 4, 6, heard)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
board = PymataExpress(com_port=sys.argv[1], baud_rate=57600, arduino_wait=1)
loop.run_until_complete(run(board))
sys.exit(0)
