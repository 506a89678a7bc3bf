"""A program of its own that sends each row on."""

import syntalos_mlink as syl

link = syl.init_link()
inp = link.register_input_port("in", "Rows", syl.DataType.TableRow)
out = link.register_output_port("out", "Rows", syl.DataType.TableRow)


def prepare():
    out.set_metadata_value("table_header", ["number", "time_usec"])
    return True


def start():
    inp.on_data = out.submit


link.on_prepare = prepare
link.on_start = start
link.await_data_forever()
