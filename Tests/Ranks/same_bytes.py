"""Runs of one process and of several, in stages, replicas and both, give the same bytes.

    .deps/venv/bin/python Tests/Ranks/same_bytes.py --binary .build/release/coppice [--launchers env torchrun mpirun own] [--short]

A dense model (the example's, in several files), one of experts and a hybrid (random ones with the example's vocabulary), by search and by hand.
One line a case; the last line counts.
"""

import argparse
import filecmp
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "Examples/data"


def dense(folder):
    from transformers import AutoModelForCausalLM

    return write(AutoModelForCausalLM.from_pretrained(ROOT / "Examples/model", dtype="auto"), folder)


def experts(folder):
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=2048, hidden_size=64, intermediate_size=96, moe_intermediate_size=48, num_hidden_layers=5, num_experts=16,
        num_experts_per_tok=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=1024)
    return save(Qwen3MoeForCausalLM(config), folder)


def hybrid(folder):
    import torch
    from transformers import NemotronHConfig, NemotronHForCausalLM

    torch.manual_seed(0)
    kinds = ["mamba", "mlp", "mamba", "attention", "mlp", "mamba"]
    config = NemotronHConfig(
        vocab_size=2048, hidden_size=64, intermediate_size=96, num_hidden_layers=len(kinds), layers_block_type=kinds,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, mamba_num_heads=8, mamba_head_dim=16, n_groups=2,
        ssm_state_size=16, chunk_size=16, max_position_embeddings=1024, use_mamba_kernels=False)
    return save(NemotronHForCausalLM(config), folder)


def save(model, folder):
    import torch

    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name and tensor.ndim == 1:
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            elif tensor.ndim > 1:
                tensor.copy_(0.1 * torch.randn_like(tensor))
    return write(model.to(torch.bfloat16), folder)


def write(model, folder):
    # In files that are large enough to be hashed by the process that reads them.
    model.save_pretrained(folder, max_shard_size="1500KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(ROOT / "Examples/model" / name, folder)
    return folder


SEARCHES = {
    "dense": ["--prune_target_params", "3e6", "--ss_channel_divisor", "32"],
    "experts": ["--prune_target_params", "600e3", "--ss_channel_divisor", "16", "--max_depth_pruning", "0.5"],
    "hybrid": ["--prune_target_params", "300e3", "--ss_channel_divisor", "16", "--max_depth_pruning", "0.5"],
}
BY_HAND = {
    "dense": '{"num_layers": 6, "hidden_size": 160, "ffn_hidden_size": 384}',
    "experts": '{"num_layers": 4, "hidden_size": 48, "num_moe_experts": 8, "moe_ffn_hidden_size": 32}',
    "hybrid": '{"num_layers": 5, "hidden_size": 48, "ffn_hidden_size": 64, "mamba_num_heads": 6, "mamba_head_dim": 8}',
}
# Processes, stages, flags.
WORLDS = [
    (2, 1, []), (2, 2, []), (3, 3, ["--num_layers_in_first_pipeline_stage", "1"]), (3, 1, []), (4, 2, []),
    (4, 4, []), (2, 2, ["--num_layers_in_first_pipeline_stage", "1"]),
]


class Runner:
    def __init__(self, binary, work):
        self.binary, self.work, self.count = binary, work, 0

    def command(self, model, what, stages, flags):
        self.count += 1
        folder = self.work / f"run-{self.count}"
        folder.mkdir()
        command = [
            str(self.binary), "prune", "--hf_model_name_or_path", str(model), *what, "--output_hf_path", str(folder / "out"),
            "--calib_dataset_name", str(DATA / "calib.jsonl"), "--calib_num_samples", "72", "--seq_length", "96",
            "--mmlu_dataset", str(DATA / "mmlu"), "--prune_score_func", "mmlu_5pct_bs1", "--top_k", "4", *flags]
        if stages > 1:
            command += ["--pp_size", str(stages)]
        known = ("RANK", "WORLD_", "LOCAL_", "MASTER_", "OMPI_", "PMI", "SLURM_", "TORCHELASTIC")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(known)}
        return folder, command, variables | {"COPPICE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}

    def run(self, launcher, ranks, model, what, stages, flags):
        folder, command, variables = self.command(model, what, stages, flags)
        if ranks == 1:
            lines = [(command, {})]
        elif launcher == "torchrun":
            torchrun = ROOT / ".deps/venv/bin/torchrun"
            lines = [([str(torchrun), "--nproc_per_node", str(ranks), "--master_port", str(port()), "--no-python", *command], {})]
        elif launcher == "mpirun":
            lines = [(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks), *command], {})]
        elif launcher == "own":
            lines = [([*command, "--nproc", str(ranks)], {})]
        elif launcher == "slurm":
            common = {"SLURM_NTASKS": str(ranks), "SLURM_JOB_ID": str(port()), "SLURM_STEP_ID": "0",
                      "SLURM_JOB_NODELIST": "localhost", "SLURM_NODELIST": "localhost",
                      "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_TASKS": str(ranks),
                      "SLURM_NTASKS_PER_NODE": str(ranks), "SLURM_NNODES": "1"}
            lines = [(command, common | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}) for rank in range(ranks)]
        else:
            common = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port())}
            lines = [(command, common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(ranks)]
        running = [
            subprocess.Popen(line, env=variables | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True, cwd=folder)
            for line, more in lines]
        told = []
        for process in running:
            try:
                text, _ = process.communicate(timeout=180)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text = "(no end) " + (process.communicate()[0] or "")
            told.append(f"exit {process.returncode}: {text[-600:]}")
        if any(process.returncode for process in running):
            raise AssertionError(" | ".join(told))
        return folder / "out"


def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def different(one, other):
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    theirs = sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    if names != theirs:
        return [f"other files: {theirs}"]
    return [str(name) for name in names if not filecmp.cmp(one / name, other / name, shallow=False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--launchers", nargs="+", default=["env"], choices=["env", "torchrun", "mpirun", "own", "slurm"])
    parser.add_argument("--models", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--short", action="store_true", help="two processes, by search")
    arguments = parser.parse_args()
    binary = pathlib.Path(arguments.binary).resolve()
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        models = {"dense": dense(work / "dense"), "experts": experts(work / "experts"), "hybrid": hybrid(work / "hybrid")}
        runner = Runner(binary, work)
        for kind in arguments.models:
            model = models[kind]
            ways = (
                ("search", SEARCHES[kind]), ("search, rotated", [*SEARCHES[kind], "--basis", "rotated"]),
                ("by hand", ["--prune_export_config", BY_HAND[kind]]))
            for way, what in ways:
                if arguments.short and way == "by hand":
                    continue
                alone = runner.run("env", 1, model, what, 1, [])
                worlds = [(2, 1, []), (2, 2, [])] if arguments.short else WORLDS
                for launcher in arguments.launchers:
                    for ranks, stages, flags in worlds:
                        name = f"{kind}, {way}, {launcher}: {ranks} processes, {stages} stages {' '.join(flags)}".strip()
                        try:
                            found = different(alone, runner.run(launcher, ranks, model, what, stages, flags))
                            assert not found, f"other bytes: {found}"
                            passed += 1
                            print(f"ok    {name}", flush=True)
                        except AssertionError as error:
                            failed += 1
                            print(f"FAIL  {name}: {' '.join(str(error).split())}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
