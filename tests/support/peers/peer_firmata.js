// npm's firmata drives a board; prints what it hears as lines of JSON, and ends with its input.
// The port is a serialport of today: the one that firmata asks for has no ready-made binding.
const { Board } = require("firmata");
const { SerialPort } = require("serialport");

const print = (what, value) => process.stdout.write(JSON.stringify([what, value]) + "\n");
const port = new SerialPort({ path: process.argv[2], baudRate: 57600 });
const board = new Board(port, { reportVersionTimeout: 200 }, (error) => {
  if (error) throw error;
  print("firmware", board.firmware.name);
  print("pins", board.pins.length);
  board.pinMode(7, board.MODES.INPUT);
  board.digitalRead(7, (value) => print("input", value));
  board.pinMode(0, board.MODES.ANALOG);
  board.analogRead(0, (value) => print("analog", value));
  board.pinMode(13, board.MODES.OUTPUT);
  board.digitalWrite(13, 1);
  board.pinMode(9, board.MODES.PWM);
  board.pwmWrite(9, 64);
  board.servoConfig(10, 544, 2400);
  board.servoWrite(10, 90);
  board.queryPinState(13, () => print("state", board.pins[13].state));
  board.on("string", (text) => print("text", text.replace(/\0/g, "")));
  board.i2cConfig(0);
  board.i2cReadOnce(0x42, 4, 6, () => print("i2c", "read"));
});
process.stdin.on("end", () => process.exit(0)).resume();
