"""What a run-off chooses: the bundled model cut to budgets, by MMLU alone and after `--kd_runoff`, each winner then distilled alike.

    python Benchmarks/runoff.py [--seeds 2] [--steps 200] [--quick] [--work DIR]

Held-out KL after the same distillation, of documents that nothing was calibrated on or learned from.
"""

import json

import measure
from contestants import COPPICE, FIXTURE, MMLU
from curves import DATA, LENGTH, distil, evaluate

BUDGETS = ("3.0M", "2.4M", "1.9M")


def main():
    options = measure.parser(__doc__)
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--steps", type=int, default=200)
    arguments = measure.parse(options)
    seeds, steps, tokens = (1, 8, "8K") if arguments.quick else (arguments.seeds, arguments.steps, "150K")
    results = {"steps": steps, "runoff_tokens": tokens, "budgets": {}}
    with measure.workplace(arguments) as work:
        for budget in BUDGETS[:1] if arguments.quick else BUDGETS:
            found = {}
            for way, more in (("mmlu", []), ("runoff", ["--kd_runoff", tokens, "--kd_runoff_lr", "1e-3"])):
                pruned = f"{work}/{budget}-{way}"
                # The run-off goes on from the scores of the run before.
                said = json.loads(measure.run([
                    COPPICE, "prune", "--json", "--hf_model_name_or_path", FIXTURE, "--output_hf_path", pruned, "--prune_target_params",
                    budget, "--max_depth_pruning", "0.4", "--ss_channel_divisor", "32", "--calib_dataset_name", DATA / "calib.jsonl",
                    "--calib_num_samples", 256, "--seq_length", LENGTH, "--mmlu_dataset", MMLU, "--prune_intermediate_ckpt",
                    f"{work}/{budget}-kept", *more]).stdout)
                found[way] = {"architecture": said["best"]["export_config"], "pruned": evaluate(pruned)}
            same = found["mmlu"]["architecture"] == found["runoff"]["architecture"]
            for way in ("mmlu",) if same else ("mmlu", "runoff"):
                found[way]["distilled"] = [
                    distil(f"{work}/{budget}-{way}", f"{work}/{budget}-{way}-{seed}", 1234 + seed, steps)["kl"] for seed in range(seeds)]
            results["budgets"][budget] = found | {"same": same}
            words = {way: " ".join(f"{kl:.4f}" for kl in each["distilled"]) for way, each in found.items() if "distilled" in each}
            print(f"{budget}: by MMLU {found['mmlu']['architecture']}: {words['mmlu']}; by the run-off "
                  + ("the same" if same else f"{found['runoff']['architecture']}: {words['runoff']}"), flush=True)
    measure.finish("runoff", results, arguments)


if __name__ == "__main__":
    main()
