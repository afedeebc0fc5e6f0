"""An interpreter and nothing else: for each line on standard input, some inferences and how long each took.

python bare_interpreter.py MODEL COUNT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter


def main(model: str, count: int) -> None:
    interpreter = Interpreter(model_content=Path(model).read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    (end,), (start,) = interpreter.get_output_details(), interpreter.get_input_details()
    chance = np.random.default_rng(0)
    picture = chance.integers(0, 256, start["shape"], np.uint8)
    for _ in sys.stdin:
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            interpreter.set_tensor(start["index"], picture)
            interpreter.invoke()
            interpreter.get_tensor(end["index"])
            times.append(1000 * (time.perf_counter() - begun))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
