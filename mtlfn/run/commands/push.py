"""``mtlfn push``: the export of a task to the Hugging Face Hub, or, dry, to a folder that holds the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mtlfn.run import terminal
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.one import predictor
from mtlfn.run.one.export import FILES
from mtlfn.run.storage import seal

if TYPE_CHECKING:
    from mtlfn.run.commands.command import Push


def push(asked: Push, say: Callable[[str], None] = terminal.say) -> int:
    """Uploads, or copies; UsageError where the export is not what the run sealed, or the Hub refuses."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    folder, _ = predictor.export_of(Path(os.path.expanduser(asked.run)), asked.task)
    predictor.described(folder)
    run = predictor.run_of(folder)
    if run is not None and (problems := seal.verify(run).problems):
        raise UsageError(f"{run}: {problems[0]}; give the run's command again, which makes it again")
    try:
        validate_repo_id(asked.to)
    except HFValidationError as error:
        raise UsageError(
            f"--to {asked.to}: is no name of a repository ({error}); expected NAME or OWNER/NAME"
        ) from None
    files = [name for name in FILES if (folder / name).is_file()]
    if asked.dry_run is not None:
        _copied(folder, files, asked.dry_run)
        say(f"{asked.dry_run} holds what would be in https://huggingface.co/{asked.to}: {', '.join(files)}")
        say("Nothing was sent. Read README.md there: it says what the data's terms are.")
        return OK
    say(f"{_uploaded(folder, files, asked)} has {', '.join(files)}")
    return OK


def _copied(folder: Path, files: list[str], target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"--dry-run {target}: exists, and is not written over; name another folder")
    made = not target.exists()
    try:
        make_folder(target)
        for name in files:
            write_file(target / name, (folder / name).read_bytes())  # whose errors name the one that is meant
    except BaseException:  # the next try would find half of it
        for name in files:
            (target / name).unlink(missing_ok=True)
        if made and target.is_dir():
            target.rmdir()
        raise


def _uploaded(folder: Path, files: list[str], asked: Push) -> str:
    """The address of the commit."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    hub = huggingface_hub.HfApi()
    try:
        repository = hub.create_repo(asked.to, private=not asked.public, exist_ok=True).repo_id
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=files,
            commit_message=f"Adapter of mtlfn for {folder.name}",
        )
    except LocalTokenNotFoundError:
        raise UsageError(f"--to {asked.to}: no one is logged in; call hf auth login, or set HF_TOKEN") from None
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"--to {asked.to}: the Hub did not take it ({first}); mend that, or use --dry-run DIR"
        ) from None
    return str(commit.commit_url)
