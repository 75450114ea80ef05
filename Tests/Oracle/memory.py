"""Does pruning hold two layers, the embedding rows in use and the hidden states, and no more, whatever the depth?

    python memory.py --binary .build/release/coppice

Prunes random checkpoints of 107 and 190 million parameters by hand. The fixed base is what `coppice doctor` takes:
the program with libtorch open. Exit 1 when the peak is above base + two layers + embedding rows + hidden states + a
working set of 16 MiB (activations of one batch in one layer, the allocator), or grows with the depth.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM = 768, 2304, 12, 4, 64
ROWS, TOKENS = 4, 256
MIB = 1 << 20


def peak(*command):
    """The peak resident memory of a command, in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    base = peak(binary, "doctor")
    layer = 2 * (HIDDEN * (HEADS + KV_HEADS) * 2 * HEAD_DIM + 3 * HIDDEN * FFN)
    rows = 2 * ROWS * TOKENS * HIDDEN
    allowed = base + 2 * layer + rows + 2 * rows + 16 * MIB
    print(f"base {base / MIB:.0f} MiB, a layer {layer / MIB:.1f} MiB, hidden states {rows / MIB:.1f} MiB")
    peaks = []
    for layers in (12, 24):
        with tempfile.TemporaryDirectory() as work:
            model = pathlib.Path(work) / "model"
            subprocess.run(
                [sys.executable, ROOT / "Benchmarks/make_checkpoint.py", model, "--tied", "--layers", str(layers),
                 "--hidden", str(HIDDEN), "--ffn", str(FFN), "--tokenizer", ROOT / "Examples/model"],
                check=True, stdout=subprocess.DEVNULL)
            size = (model / "model.safetensors").stat().st_size
            found = peak(
                binary, "prune", "--quiet", "--hf_model_name_or_path", model, "--output_hf_path", f"{work}/out",
                "--prune_intermediate_ckpt", f"{work}/scores", "--calib_num_samples", str(ROWS), "--seq_length",
                str(TOKENS), "--calib_dataset_name", ROOT / "Examples/data/calib.jsonl", "--prune_export_config",
                '{"hidden_size": 512, "ffn_hidden_size": 1536, "num_layers": 10}')
            print(f"{layers} layers, {size / MIB:.0f} MiB of weights: peak {found / MIB:.0f} MiB, "
                  f"allowed {allowed / MIB:.0f} MiB")
            peaks.append(found)
    if max(peaks) > allowed or peaks[1] > peaks[0] + 8 * MIB:
        sys.exit("memory is held that should not be")


if __name__ == "__main__":
    main()
