"""Runs ONNX files: reads a list of them from the JSON file that is its one argument, checks each by ONNX's own checker,
and writes what onnxruntime makes of their inputs. Tensors are raw little-endian float32 files."""

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
        images = numpy.fromfile(run["input"], dtype="<f4").reshape(run["shape"])
        (logits,) = session.run(["logits"], {"images": images})
        assert logits.dtype == numpy.float32 and logits.ndim == 2 and len(logits) == len(images), logits.shape
        logits.astype("<f4").tofile(run["output"])
