"""Check errors that the user can put right: one line, and exit code 2 from a script."""

from collections.abc import Callable

import pytest

from wine_gpt.errors import UserError


def refused(function: Callable[..., object], *arguments: object, **settings: object) -> str:
    """Call the function and return the message of the :class:`UserError` that it must raise, one line."""
    with pytest.raises(UserError) as error:
        function(*arguments, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_script(capsys: pytest.CaptureFixture[str], script: Callable[..., object], *arguments: object) -> str:
    """Call a script's ``main``; return the error that it must print last on stderr before it exits with code 2."""
    with pytest.raises(SystemExit) as ended:
        script(*arguments)
    return error_line(ended.value.code, capsys.readouterr().err)


def error_line(exit_code: object, stderr: str) -> str:
    """Assert exit code 2 and an error in one line, the last on stderr; return the line."""
    assert exit_code == 2, stderr
    assert "Traceback" not in stderr
    line = stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")
