"""What programs say when something is wrong, by what it means for the search of the cause.

Of engines, PyTorch, NCCL, UCX, Ray, launchers and shells: none of it belongs to one engine.
"""

from __future__ import annotations

import re


def _any(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


ECHO = _any(
    r"(?:root cause|stack ?trace|trace|logs?|messages?|errors?)(?: \(?above\)?| below)",
    r"see (?:the )?(?:stack ?trace|root cause|traceback|logs?)\b",
    r"engine core initialization failed|enginedeaderror|engine (?:process|core|loop) .{0,40}died",
    r"enginecore (?:encountered|failed to start|hit)|workerproc (?:failed to start|hit|initialization failed)",
    r"worker failed with error|output_handler failed|background (?:loop|process) (?:has )?(?:already )?(?:error|die)",
    r"hit an exception[.:]?$|dumping (?:input|scheduler)|failed core proc|received sigquit|sigquit received",
    r"usually means (?:one|the) child|scheduler died|scheduler is dead|initialization failed\. please",
    r"exceptiongroup: |failed to start\.?$|^exit code: -?\d+$|executor failed\.?$|shutting down (?:engine|client)\.?$",
)
"""It says that something above went wrong, and not what."""

SECONDARY = _any(
    r"connection (?:was |is )?(?:likely )?(?:closed|reset|aborted|lost|refused by peer)",
    r"broken ?pipe|closed the connection",
    r"remote (?:process|side|peer) (?:exit|clos|has)|ncclremoteerror|prematurely|peer (?:has )?(?:closed|exited|died)",
    r"got 0 bytes|communicator was aborted|nccl communicator .{0,40}abort|heartbeat|sendbytes failed|recvvalue failed",
    r"rpc call to .{0,80}timed out|timed out waiting for (?:a )?(?:worker|client|rank|response)",
    r"^(?:[\w.]*\.)?(?:CancelledError|KeyboardInterrupt|SystemExit|EOFError|BrokenPipeError|GeneratorExit|Empty)\b",
    r"^(?:[\w.]*\.)?RuntimeError: (?:cancell?ed|event loop is closed|cannot schedule new futures)",
    r"fatal python error: aborted|^aborted\b|some nccl operations have failed|to avoid data inconsistency",
    r"terminating the process after|failure detected by watchdog|taking the entire process down|closing signal",
    r"task exception was never retrieved|event loop is closed|was destroyed but it is pending|parent process exited",
    r"core proc \S+ died",
)
"""It comes because something else went wrong."""

HANG = _any(
    r"watchdog caught|collective operation timeout|timeout at nccl|scheduler watchdog|watchdog timeout|"
    r"watchdog thread terminated with exception: \[rank \d+\] watchdog|\btimed out\b|\btimeout ?(?:error|expired)"
)
"""Somebody waited for a process that did not come."""

DIED = _any(
    r"(?:worker|proc(?:ess)?|engine|actor|task|child|rank)\b.{0,60}(?:died|was killed|exited) (?:unexpectedly|by)",
    r"died unexpectedly|was killed due to|worker died or was killed|unexpectedly exits with",
    r"^(?:.*: line \d+: *)?(?:\d+ )?killed\b|oom[- ]kill|out of memory: kill|oom killer|: out of memory$|oomkilled",
    r"exit ?code[: =]+(?:-\d+|13[0-9])\b|exited with (?:code|status) (?:-\d+|13[0-9])\b|signal 9\b|\bsigkill\b",
)
"""A process is gone that left no words of its own."""

CRASH = _any(
    r"fatal python error|caught signal \d+|segmentation fault|sig(?:segv|bus|ill|fpe|abrt)\b|bus error|core dumped",
    r"illegal instruction|double free|invalid pointer|corrupted (?:size|double)|stack smashing|malloc\(\): ",
    r"segfault encountered|floating point exception \(",
)
"""A process ended in the middle of an instruction."""

DECISIVE = _any(
    r"\[errno \d+\]|address already in use|no space left on device|out of memory|cuda error|hip error|cuda failure",
    r"no such file or directory|permission denied|not enough memory",
)
"""Of a line at the level of an error: it says what is wrong, and needs no exception."""

PANIC = re.compile(r"^thread '[^']*'.* panicked at ")
"""Of a program in Rust; its message may stand on the next line."""

THROWN = re.compile(r"^terminate called (?:after throwing|recursively|without)")
"""Of a program in C++; what it threw says below what it is about."""

PROGRAM_ERROR = re.compile(
    r"^\S+(?: [a-z][\w-]*)?: error: .+|^Error: \S.+|^\S*python[\d.]*: (?:No module|can't open|Error while).+"
    r"|^fatal error: .+|^(?:\u2502 )?(?:No such option|No such command|Invalid value|Missing (?:option|argument))\b"
)
"""Of a command that does not understand its arguments, or of the main function of a program in Rust."""

EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*(?:[A-Za-z_]\w*)?(?:Error|Exception|Interrupt|Exit|Failure)(?:\([\w.]+\))?(?::(?:\s.*)?)?$"
)
"""The last line of a traceback, where nothing else says that it is one."""

OF_TRACEBACK = re.compile(r"^[A-Za-z_][\w.]*(?:\([\w.]+\))?(?::(?:\s.*)?)?$")
"""The same below a traceback, where a class may have any name."""

BENIGN = _any(
    r"falling back|fall back to|optional|will (?:be )?(?:retr|ignor|skip)|retrying|trying again|try again later",
    r"ignored|ignoring|skipping|disabled|continuing|not fatal|non-fatal",
)
"""The line says itself that it is nothing."""

IGNORED = re.compile(r"^(?:Exception ignored (?:in|on)|Error in atexit\.|Error in sys\.excepthook)")
"""What follows was thrown away by Python."""

NEVER = re.compile(r"^(?:frame #\d+|Exception raised from |resource_tracker|Extension modules:)|\[notice\]")

SHUTDOWN = _any(
    r"shut(?:ting)? ?down|shutdown|terminat|exit|clos(?:e|ed|ing)\b|stopp|clean(?:ing|ed)? ?up|destroy|kill",
    r"sig[a-z]{3,4}\b|dump|coredump|py-spy|finished server|waiting for (?:application|background|connections)",
    r"no available shared memory|crash|aborting|leaked|draining",
)
"""An ordinary line of a program that ends or waits in vain: it does not show that an error was survived."""

WELL = _any(r"application startup complete|fired up and ready|uvicorn running on", r'"POST [^"]*" 200')
"""The whole of the program works: what was said before has been survived."""

ANSWERED = re.compile(r"\" [24]\d\d\b")
"""Of a line of an access log: the program answered, or refused on purpose."""

SURVIVED = _any(r"succe|recovered|reconnected|established again|is back\b|\bretry(?:ing)?\b|trying again")
"""A line that says that something which went wrong goes well now, or is tried again."""

GIVEN_UP = _any(r"giv(?:e|es|ing|en) up|gave up|exhausted|no more|not succe|unsucce|out of retries|max\w* retr")

TROUBLE = _any(
    r"error|fail|fatal|abort|kill|panic|segmentation|core dumped|terminat|corrupt|cannot|can't|could not|unable",
    r"not found|no such|no module|not allowed|not permitted|denied|refused|rejected|invalid|illegal|unknown",
    r"unrecognized|unsupported|not supported|out of memory|insufficient|no space|exception|already in use|missing",
)
"""A word of a line that says that something went wrong, whatever its form."""

PLAIN = re.compile(
    r"^\W*(?:\S+[ T]\S+ )?\W*(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING)\b|\d%[^|]{0,40}\||\w+Warning:|\[[IW]\d{4} "
)
"""A line whose level is below an error, whatever its form; a warning of Python's or PyTorch's; a bar of progress."""

MARKED = re.compile(r"\b(?:ERROR|CRITICAL|FATAL|panicked)\b")

POINTER = re.compile(
    r"^(?:last error|root cause\b.*|caused by|original (?:error|exception)\b.*|reason|underlying error|error was):\s*$",
    re.IGNORECASE,
)
"""The next line says what it was."""

LOOKED_UP = re.compile(
    r"^(?:[\w.]*\.)?(?:KeyError|AttributeError|IndexError|StopIteration|LookupError|ImportError|ModuleNotFoundError"
    r"|HFValidationError|LocalEntryNotFoundError|CalledProcessError|TypeError|NameError|JSONDecodeError)\b"
)
"""An exception with which something was tried; what was raised while it was handled says what is wrong."""
