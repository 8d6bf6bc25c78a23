"""Runs ONNX files: reads a list of them from the JSON file that is its one argument, checks each by ONNX's own checker,
and writes what onnxruntime makes of their inputs. Tensors are raw little-endian files; outputs are float32."""

import json
import sys

import numpy
import onnx
import onnxruntime

for case in json.load(open(sys.argv[1])):
    onnx.checker.check_model(case["model"], full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(case["model"], options, providers=["CPUExecutionProvider"])
    for run in case["runs"]:
        inputs = {
            name: numpy.fromfile(given["file"], dtype=given["type"]).reshape(given["shape"])
            for name, given in run["inputs"].items()
        }
        wanted = run["outputs"]
        for name, value in zip(wanted, session.run(list(wanted), inputs)):
            assert value.dtype == numpy.float32 and list(value.shape) == wanted[name]["shape"], (name, value.shape)
            value.astype("<f4").tofile(wanted[name]["file"])
