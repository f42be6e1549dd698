# Fibers in gdb, of a live process or of a core file:
#
#   (gdb) source runtime/gdb/fiberscope.py
#   (gdb) info fibers [-state S] [-reason R] [-limit N] [-group]
#   (gdb) fiber ID bt [full]         any command, with that fiber's frames; ID may be a convenience variable
#   (gdb) fiber ID                   select it: bt, up, down, frame N, info locals show the fiber's stack from then on
#   (gdb) fiber none                 back to the thread; so does "thread" in any form, and continuing
#   (gdb) fiber                      which one is selected
#   (gdb) fiber apply all bt         or IDs for "all"; any command
#
# What it knows of the runtime it reads from the process (runtime/debugger_layout.h); no debug information is needed for that,
# though without any there are no function names. It calls nothing in the process and writes nothing to it.
#
# How a fiber is selected: registers cannot be written in a core file, and in a live process it would be dangerous, so they
# stay as they are. Instead an unwinder makes the fiber's innermost frame the caller of the selected thread's own frame, which a
# frame filter hides. So a fiber's frames are counted from 1 on, and "down" from there leads to the thread. Step and finish
# only after "fiber none".
#
# Times on a core file, and across machines, are measured up to the latest wait that any fiber began.
#
# Written for gdb 13.

import collections
import hashlib
import os
import re
import struct
import time

import gdb
from gdb.FrameDecorator import FrameDecorator
from gdb.unwinder import Unwinder, register_unwinder

SYMBOL = "fiberscope_debugger_layout"
SECTION = "fiberscope_layout"
VERSION = 1
MAX_BLOCK_BYTES = 1 << 16
MAX_NAME_BYTES = 256

# struct DebuggerLayout, version 1.
FIELDS = [("magic", "8s"), ("version", "I"), ("bytes", "I"), ("slabs", "Q"), ("blocks_per_slab", "Q")]
FIELDS += [(name, "I") for name in (
    "class_count slabs_per_class block_bytes saved_sp state wait_reason since_ns locked_to_thread id parent_id creator_pc "
    "entry_pc name name_bytes stack_high stack_bytes state_bits state_count").split()]
FIELDS += [("state_names", "Q")]
FIELDS += [(name, "I") for name in "dead_state running_state waiting_state blocking_state".split()]
FIELDS += [("wait_reason_names", "Q"), ("wait_reason_count", "I"), ("saved_register_count", "I"), ("saved_registers", "Q"),
           ("stack_pointer_name", "Q"), ("saved_frame_bytes", "I"), ("reserved", "I"), ("source_file", "Q")]
FORMAT = "<" + "".join(code for _, code in FIELDS)


def fail(text):
    raise gdb.GdbError(text)


def read(address, size, what):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.MemoryError, OverflowError):
        fail("Cannot read %s, %d bytes at %#x." % (what, size, address))


def read_words(address, count, what):
    return struct.unpack("<%dQ" % count, read(address, 8 * count, what))


def read_text(address, what):
    text = b""
    while b"\0" not in text and len(text) < MAX_NAME_BYTES:
        text += read(address + len(text), 1, what)  # the next byte may not be mapped
    return text.split(b"\0")[0].decode("utf-8", "backslashreplace")


# Without what would disturb a terminal.
def readable(text):
    return "".join("\\" + c if c in '"\\' else c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# "a::F<b<c>, d>::G" -> "a::F<...>::G"; operators stay as they are.
def short_name(name):
    result = []
    depth = 0
    i = 0
    while i < len(name):
        operator = re.compile(r"\boperator *(<=>|<<=|>>=|<<|>>|->\*|->|<=|>=|<|>)").match(name, i)
        if operator is not None:
            if depth == 0:
                result.append(operator.group())
            i = operator.end()
            continue
        c = name[i]
        if c == "<" and not name.startswith("<lambda", i) or c == "<" and depth > 0:
            if depth == 0:
                result.append("<...>")
            depth += 1
        elif c == ">" and depth > 0:
            depth -= 1
        elif depth == 0:
            result.append(c)
        i += 1
    return "".join(result)


# Calls the function as a command of its own. gdb keeps the values that a command made until it ends, 4 KB for each fiber
# looked at, so a command over all fibers would need memory for all.
def as_command(function):
    outcome = []

    def call():
        try:
            outcome.append((function(), None))
        except BaseException as error:  # to be raised outside of the command
            outcome.append((None, error))

    gdb.fiberscope_call = call
    gdb.execute("python gdb.fiberscope_call()")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


# ---- The runtime, as it describes itself.


def layout_address():
    try:
        return int(gdb.parse_and_eval("(unsigned long)&%s" % SYMBOL))
    except gdb.error:
        pass
    # Stripped of its symbols; sections have names still.
    match = re.search(r"(0x[0-9a-f]+) - 0x[0-9a-f]+ is %s\b" % SECTION, gdb.execute("info files", to_string=True))
    if match is None:
        fail("No Fiberscope runtime here: there is neither a symbol %s nor a section %s. Is the program loaded (file PROGRAM)?" %
             (SYMBOL, SECTION))
    return int(match.group(1), 16)


class Layout:
    def __init__(self):
        thread = gdb.selected_thread()
        if thread is None:
            fail("There is no process: run the program, attach to one, or load a core file.")
        if thread.is_running():
            fail("The selected thread is running: interrupt it first.")
        address = layout_address()
        magic, version, size = struct.unpack("<8sII", read(address, 16, "the runtime's description"))
        if magic != b"fbrscope":
            fail("What is at %#x (%s) is no description of a Fiberscope runtime: does the program file match the process?" %
                 (address, SYMBOL))
        if version != VERSION:
            fail("The runtime describes itself in version %d, this script knows version %d: use the fiberscope.py of the "
                 "sources that the program was built from." % (version, VERSION))
        if size != struct.calcsize(FORMAT):
            fail("The runtime's description at %#x is damaged: %d bytes, not %d." % (address, size, struct.calcsize(FORMAT)))
        for (name, _), value in zip(FIELDS, struct.unpack(FORMAT, read(address, size, "the runtime's description"))):
            setattr(self, name, value)
        counts = (self.class_count, self.state_count, self.wait_reason_count, self.saved_register_count)
        if not 0 < self.block_bytes <= MAX_BLOCK_BYTES or max(counts) > 256:
            fail("The runtime's description at %#x is damaged." % address)
        self.states = self.texts(self.state_names, self.state_count, "the names of states")
        self.reasons = self.texts(self.wait_reason_names, self.wait_reason_count, "the names of wait reasons")
        self.slab_sizes = struct.unpack("<%dI" % self.class_count,
                                        read(self.blocks_per_slab, 4 * self.class_count, "the sizes of slabs"))
        pairs = read_words(self.saved_registers, 2 * self.saved_register_count, "the saved registers")
        self.registers = [(read_text(name, "a register's name"), offset) for name, offset in zip(pairs[::2], pairs[1::2])]
        self.stack_pointer = read_text(self.stack_pointer_name, "a register's name")
        source = read_text(self.source_file, "the path of a source file")
        self.tree = source[:-len("runtime/debugger_layout.cc")] if source.endswith("runtime/debugger_layout.cc") else None

    def texts(self, address, count, what):
        return [read_text(text, what) for text in read_words(address, count, what)]

    # Every live fiber, slab by slab.
    def fibers(self):
        for c in range(self.class_count):
            for s in range(self.slabs_per_class):
                slab, = read_words(self.slabs + 8 * (c * self.slabs_per_class + s), 1, "the directory of fibers")
                if slab == 0:
                    break
                memory = read(slab, self.block_bytes * self.slab_sizes[c], "control blocks of fibers")
                for i in range(self.slab_sizes[c]):
                    fiber = Fiber(self, memory, i * self.block_bytes, slab)
                    if fiber.id != 0 and fiber.state != self.dead_state:
                        yield fiber

    def fiber(self, fiber_id):
        for fiber in self.fibers():
            if fiber.id == fiber_id:
                return fiber
        fail("No fiber %d: it has ended, or never was." % fiber_id)

    # Our own function, or another's? As pprof/machinery.h has it.
    def is_machinery(self, name, filename):
        if name is not None and (name.startswith("fiberscope::") or name.startswith("fiberscope_") or
                                 re.match(r"[a-z ]*\bfiberscope::", name)):
            return True
        return self.tree is not None and filename is not None and os.path.normpath(filename).startswith(self.tree + "runtime/")


class Fiber:
    def __init__(self, layout, memory, at, slab):
        def word(offset):
            return struct.unpack_from("<Q", memory, at + offset)[0]

        self.layout = layout
        self.id = word(layout.id)
        self.word = word(layout.state)
        self.state = self.word >> (64 - layout.state_bits)
        if self.id == 0:
            return
        self.address = slab + at
        self.saved_sp = word(layout.saved_sp)
        self.parent_id = word(layout.parent_id)
        self.entry_pc = word(layout.entry_pc)
        self.creator_pc = word(layout.creator_pc)
        self.since_ns, = struct.unpack_from("<q", memory, at + layout.since_ns)
        self.reason = memory[at + layout.wait_reason]
        self.locked = memory[at + layout.locked_to_thread] != 0
        name = memory[at + layout.name:at + layout.name + layout.name_bytes]
        self.name = name.split(b"\0")[0].decode("utf-8", "backslashreplace")
        self.stack_high = word(layout.stack_high)
        self.stack_low = self.stack_high - struct.unpack_from("<I", memory, at + layout.stack_bytes)[0]

    def corrupted(self):
        return self.state >= self.layout.state_count

    def on_thread(self):
        return self.state in (self.layout.running_state, self.layout.blocking_state)

    def waits(self):
        return self.state in (self.layout.waiting_state, self.layout.blocking_state)

    def holds(self, address):
        return self.stack_low <= address < self.stack_high

    def state_text(self):
        layout = self.layout
        if self.corrupted():
            return "corrupted state word %#x" % self.word
        if self.state != layout.waiting_state:
            return layout.states[self.state]
        return layout.reasons[self.reason] if self.reason < layout.wait_reason_count else "corrupted wait reason %d" % self.reason

    # "[channel receive, 5 minutes, locked to thread]"
    def header(self, clock):
        parts = [self.state_text()]
        if self.waits() and not self.corrupted():
            seconds = max(0, clock.now_ns - self.since_ns) // 10**9
            if seconds >= 60:
                parts.append("%d minutes" % (seconds // 60))
            elif seconds >= 1:
                parts.append("%d seconds" % seconds)
        if self.locked:
            parts.append("locked to thread")
        name = ' "%s"' % readable(self.name) if self.name else ""
        return "fiber %d [%s]%s" % (self.id, ", ".join(parts), name)

    # The registers it goes on with, by name.
    def saved_context(self):
        layout = self.layout
        if self.corrupted():
            fail("Fiber %d has a corrupted state word, %#x: state %d is none of %s." %
                 (self.id, self.word, self.state, ", ".join(layout.states)))
        if self.state == layout.blocking_state:
            fail("Fiber %d is in a blocking call, but no thread is on its stack." % self.id)
        if not (self.stack_low <= self.saved_sp <= self.stack_high - layout.saved_frame_bytes) or self.saved_sp % 8 != 0:
            fail("Fiber %d's stack is unavailable: its saved stack pointer %#x is not in its stack, [%#x, %#x)." %
                 (self.id, self.saved_sp, self.stack_low, self.stack_high))
        frame = read(self.saved_sp, layout.saved_frame_bytes, "the saved registers of fiber %d" % self.id)
        context = {name: struct.unpack_from("<Q", frame, offset)[0] for name, offset in layout.registers}
        if context[layout.registers[0][0]] == 0:
            fail("Fiber %d's stack is unavailable: it reads as zero. gdb's generate-core-file leaves out stacks with guard pages; "
                 "the kernel's core files have them." % self.id)
        context[layout.stack_pointer] = self.saved_sp + layout.saved_frame_bytes
        return context


class Clock:
    def __init__(self, layout):
        connection = gdb.selected_inferior().connection
        if connection is not None and connection.type == "native":
            self.now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        else:
            self.now_ns = max((fiber.since_ns for fiber in layout.fibers() if fiber.waits()), default=0)


# ---- Making gdb show a fiber's frames.


class FiberUnwinder(Unwinder):
    def __init__(self):
        super().__init__("fiberscope")
        self.context = None  # {register: value} of the selected fiber
        self.ptid = None     # of the thread whose frames it takes the place of ...
        self.level = 0       # ... from the caller of this one on
        self.fiber_id = None
        self.resumptions = 0  # how often the process has gone on

    def applies(self):
        thread = gdb.selected_thread()
        return self.context is not None and thread is not None and thread.ptid == self.ptid

    def __call__(self, pending):
        if self.context is None or pending.level() != self.level or not self.applies():
            return None
        pc = pending.read_register("pc")
        # 0: lower than any stack, so no frame of the fiber's looks as if it were further in.
        info = pending.create_unwind_info(FrameId(gdb.Value(0).cast(pc.type), pc))
        for name, value in self.context.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value.to_bytes(kind.sizeof, "little"), kind))
        return info


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


# Hides the thread's own frame while a fiber is selected.
class FiberFilter:
    def __init__(self):
        self.name = "fiberscope"
        self.priority = 1000
        self.enabled = False  # so that gdb prints as always
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        if not unwinder.applies():
            return frames
        return (FiberFrame(frame) for frame in frames if frame.inferior_frame().level() > unwinder.level)


# Names as gdb prints them without a filter.
class FiberFrame(FrameDecorator):
    def function(self):
        return self.inferior_frame().name() or "??"


def deselect(*_):
    unwinder.context = None
    unwinder.fiber_id = None
    frame_filter.enabled = False


def on_continue(_):
    unwinder.resumptions += 1
    deselect()


def select_thread():
    if unwinder.context is not None:
        deselect()
        gdb.invalidate_cached_frames()


# Sets the frames of the selected thread to the fiber's, and returns the innermost one.
def set_frames(fiber, context):
    select_thread()
    frame = gdb.newest_frame()
    while frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    unwinder.level = frame.level()
    unwinder.ptid = gdb.selected_thread().ptid
    unwinder.context = context
    unwinder.fiber_id = fiber.id
    frame_filter.enabled = True
    gdb.invalidate_cached_frames()
    frame = gdb.newest_frame()
    while frame is not None and frame.level() <= unwinder.level:
        frame = frame.older()
    if frame is None:
        select_thread()
        fail("gdb finds no frame of fiber %d." % fiber.id)
    return frame


# What was selected, to come back to it.
class Selection:
    def __enter__(self):
        self.thread = gdb.selected_thread()
        self.fiber = (unwinder.context, unwinder.ptid, unwinder.level, unwinder.fiber_id)
        self.resumptions = unwinder.resumptions
        try:
            self.level = gdb.selected_frame().level()
        except gdb.error:
            self.level = 0
        return self

    def __exit__(self, *_):
        if unwinder.resumptions != self.resumptions or self.thread is None or not self.thread.is_valid():
            deselect()  # what was selected then is no more
            return
        unwinder.context, unwinder.ptid, unwinder.level, unwinder.fiber_id = self.fiber
        frame_filter.enabled = unwinder.context is not None
        self.thread.switch()
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        while frame.level() < self.level and frame.older() is not None:
            frame = frame.older()
        frame.select()


# Which threads are on which stacks. Looks once: the process stands still.
class Threads:
    def __init__(self):
        self.stacks = None  # [(thread, stack pointers)]

    def of(self, fiber):
        if self.stacks is None:
            self.stacks = []
            with Selection():
                select_thread()
                for thread in gdb.selected_inferior().threads():
                    if thread.is_valid() and not thread.is_running():
                        thread.switch()
                        self.stacks.append((thread, self.stack_pointers()))
        for thread, pointers in self.stacks:
            if any(fiber.holds(pointer) for pointer in pointers):
                return thread
        return None

    # The thread's, and what its outer frames have: it may be in a signal handler on a stack of its own.
    @staticmethod
    def stack_pointers():
        frame = gdb.newest_frame()
        pointers = [int(frame.read_register("sp"))]
        try:
            for _ in range(64):
                in_handler = frame.type() == gdb.SIGTRAMP_FRAME
                frame = frame.older()
                if frame is None:
                    break
                if in_handler:
                    pointers.append(int(frame.read_register("sp")))
                    break
        except gdb.error:
            pass  # as far as it goes
        return pointers


# Shows a fiber's frames: those of its thread if it is on one. Returns the innermost frame and the thread, or None.
def show(fiber, threads):
    thread = threads.of(fiber) if fiber.on_thread() or fiber.corrupted() else None
    if thread is None:
        return set_frames(fiber, fiber.saved_context()), None
    select_thread()
    thread.switch()
    return gdb.newest_frame(), thread


Line = collections.namedtuple("Line", "pc name filename line")


# As lines, inlined functions too, innermost first. Ends where gdb cannot go on.
def lines_of(frame):
    try:
        while frame is not None and frame.is_valid():
            sal = frame.find_sal()
            symtab = sal.symtab
            yield Line(frame.pc(), frame.name(), symtab.filename if symtab is not None else None, sal.line)
            frame = frame.older()
    except gdb.error:
        return


def place(line):
    if line.name is None:
        return "%#x" % line.pc
    name = short_name(line.name)
    return name if line.filename is None else "%s at %s:%d" % (name, os.path.normpath(line.filename), line.line)


def entry_line(fiber):
    sal = gdb.find_pc_line(fiber.entry_pc)
    block = gdb.block_for_pc(fiber.entry_pc)
    name = block.function.name if block is not None and block.function is not None else None
    return Line(fiber.entry_pc, name, sal.symtab.filename if sal.symtab is not None else None, sal.line)


# A call of the C++ or C library, or of Boost, on the way from the user's function to ours.
def is_library(line):
    if line.name is not None and re.match(r"(std|boost|__gnu_cxx)::", line.name):
        return True
    if line.filename is not None and line.filename.startswith("/usr/include/"):
        return True
    library = os.path.basename(gdb.solib_name(line.pc) or "")
    return re.match(r"lib(c|stdc\+\+|gcc_s|pthread|m)[-.]|ld-|linux-vdso", library) is not None


# The function that a fiber is in, for who knows the program but not the libraries.
def first_user_line(fiber, frame):
    second_best = None
    for line in lines_of(frame):
        if line.name is None or fiber.layout.is_machinery(line.name, line.filename):
            continue
        if not is_library(line):
            return line
        second_best = second_best or line
    # It has not begun, or is nothing else.
    return second_best or (entry_line(fiber) if fiber.entry_pc != 0 else None)


# " on thread 3 (LWP 4711)"; empty for a fiber that is not running.
def thread_text(fiber, thread):
    if thread is not None:
        return " on thread %d (LWP %d)" % (thread.num, thread.ptid[1] or thread.ptid[0])
    # Its registers are saved: its thread has just left its stack, or is about to enter it.
    return " in a switch" if fiber.state == fiber.layout.running_state else ""


# What there is to say before the frames.
def title(fiber, clock, frame, thread):
    text = fiber.header(clock) + thread_text(fiber, thread)
    if thread is None and frame.name() == "fiberscope_fiber_entry" and fiber.entry_pc != 0:
        text += ", not begun yet: " + place(entry_line(fiber))
    return text


# ---- Commands.


class Command(gdb.Command):
    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            self.run(gdb.string_to_argv(argument), argument)
        except gdb.error as error:
            fail(str(error))
        except (struct.error, RuntimeError, ValueError, OverflowError, IndexError) as error:
            fail("The runtime's data cannot be understood: %s." % error)


class InfoFibers(Command):
    """The live fibers: state, wait reason and for how long, function, creator.

info fibers [-state S] [-reason R] [-limit N] [-group]

-state S   those in that state only, e.g. waiting
-reason R  those that wait for that only, e.g. "channel receive"
-limit N   N lines or groups at most
-group     by identical stacks, with counts, the largest group first"""

    def __init__(self):
        super().__init__("info fibers", gdb.COMMAND_STATUS)

    def run(self, words, _):
        layout = Layout()
        state, reason, limit, group = self.parse(layout, words)
        total = matching = 0

        def matches():
            nonlocal total, matching
            for fiber in layout.fibers():
                total += 1
                if state is not None and fiber.state != state:
                    continue
                if reason is not None and (fiber.state != layout.waiting_state or fiber.reason != reason):
                    continue
                matching += 1
                yield fiber

        current = unwinder.fiber_id if unwinder.applies() else None
        with Selection():
            (self.print_groups if group else self.print_lines)(layout, matches(), limit, current)
        if total == 0:
            gdb.write("No fibers.\n")
        elif state is None and reason is None:
            gdb.write("%d fiber%s.\n" % (total, "" if total == 1 else "s"))
        else:
            gdb.write("%d of %d fibers.\n" % (matching, total))

    @staticmethod
    def parse(layout, words):
        state = reason = limit = None
        group = False
        words = collections.deque(words)
        while words:
            option = words.popleft()
            if option == "-group":
                group = True
                continue
            if option not in ("-state", "-reason", "-limit"):
                fail("info fibers has no option \"%s\": -state S, -reason R, -limit N, -group." % option)
            if not words:
                fail("%s needs a value." % option)
            value = words.popleft()
            if option == "-state":
                if value not in layout.states:
                    fail("No state \"%s\": %s." % (value, ", ".join(layout.states)))
                state = layout.states.index(value)
            elif option == "-reason":
                if value not in layout.reasons:
                    fail("No wait reason \"%s\": %s." % (value, ", ".join(layout.reasons)))
                reason = layout.reasons.index(value)
            else:
                if not re.fullmatch("[0-9]{1,18}", value):
                    fail("-limit needs a number, not \"%s\"." % value)
                limit = int(value)
        return state, reason, limit, group

    @staticmethod
    def print_lines(layout, fibers, limit, current):
        threads = Threads()
        clock = Clock(layout)
        shown = hidden = 0
        for fiber in fibers:
            if limit is not None and shown == limit:
                hidden += 1
                continue
            shown += 1
            text = "%s %s" % ("*" if fiber.id == current else " ", fiber.header(clock))
            try:
                text += as_command(lambda: InfoFibers.where(fiber, threads))
            except (gdb.error, gdb.GdbError) as error:
                text += "" if fiber.corrupted() else " (%s)" % str(error).rstrip(".")
            text += ", created by %s" % ("fiber %d" % fiber.parent_id if fiber.parent_id else "a thread")
            gdb.write(text + "\n")
        if hidden > 0:
            gdb.write("  ... %d more\n" % hidden)

    @staticmethod
    def where(fiber, threads):
        frame, thread = show(fiber, threads)
        text = thread_text(fiber, thread)
        line = first_user_line(fiber, frame)
        return text + " in " + place(line) if line is not None else text

    # Memory for each distinct stack, not for each fiber.
    @staticmethod
    def print_groups(layout, fibers, limit, _):
        threads = Threads()
        groups = {}  # of addresses: [count, lines]
        for fiber in fibers:
            try:
                lines = as_command(lambda: list(lines_of(show(fiber, threads)[0])))
            except (gdb.error, gdb.GdbError) as error:
                lines = [Line(0, str(error), None, 0)]
            key = hashlib.sha1(repr([(line.pc, line.name) for line in lines]).encode()).digest()
            groups.setdefault(key, [0, lines])[0] += 1
        ordered = sorted(groups.values(), key=lambda group: (-group[0], [line.pc for line in group[1]]))
        for count, lines in ordered[:limit]:
            pcs = []
            for line in lines:
                if not pcs or pcs[-1] != line.pc:
                    pcs.append(line.pc)
            gdb.write("%d @ %s\n" % (count, " ".join("%#x" % pc for pc in pcs)))
            for line in user_lines(layout, lines):
                gdb.write("#\t%#x\t%s\n" % (line.pc, place(line)))
            gdb.write("\n")
        if limit is not None and len(ordered) > limit:
            gdb.write("... %d more groups\n" % (len(ordered) - limit))


# Without our own functions at both ends; all of them if there is nothing else.
def user_lines(layout, lines):
    ours = [layout.is_machinery(line.name, line.filename) for line in lines]
    if all(ours):
        return lines
    return lines[ours.index(False):len(lines) - ours[::-1].index(False)]


class FiberCommand(Command):
    """Selects a fiber, or runs a command with a fiber's frames.

fiber ID                 select it, or the thread that it runs on; frames count from 1
fiber ID COMMAND         e.g. fiber 7 bt full
fiber apply all COMMAND  for every fiber; or IDs for "all"
fiber none               back to the thread's own frames
fiber                    which one is selected"""

    def __init__(self):
        super().__init__("fiber", gdb.COMMAND_STACK)

    def run(self, words, argument):
        if not words:
            self.print_current()
        elif words[0] == "none":
            if len(words) > 1:
                fail("Usage: fiber none")
            select_thread()
        elif words[0] == "apply":
            self.apply(argument.split(None, 1)[1] if len(words) > 1 else "")
        else:
            fiber_id = self.parse_id(words[0])
            if len(words) > 1:
                layout = Layout()
                self.run_in(layout.fiber(fiber_id), argument.split(None, 1)[1], Threads(), Clock(layout))
            else:
                self.select(fiber_id)

    @staticmethod
    def parse_id(word):
        if word.startswith("$"):
            return int(gdb.parse_and_eval(word))
        if not re.fullmatch("[0-9]{1,19}", word):
            fail("\"%s\" is no fiber's id: a number from info fibers, none, or apply." % word)
        return int(word)

    @staticmethod
    def print_current():
        layout = Layout()
        if unwinder.applies():
            gdb.write("[Current fiber is %d]\n" % unwinder.fiber_id)
            return
        thread = gdb.selected_thread()
        threads = Threads()
        for fiber in layout.fibers():
            on = threads.of(fiber) if fiber.on_thread() else None
            if on is not None and on.ptid == thread.ptid:
                gdb.write("[Thread %d runs fiber %d]\n" % (thread.num, fiber.id))
                return
        gdb.write("[No fiber is selected, and thread %d runs none]\n" % thread.num)

    @staticmethod
    def select(fiber_id):
        layout = Layout()
        fiber = layout.fiber(fiber_id)
        clock = Clock(layout)
        frame, thread = show(fiber, Threads())
        frame.select()
        gdb.write("[Switching to %s]\n" % title(fiber, clock, frame, thread))
        gdb.execute("frame")

    @staticmethod
    def run_in(fiber, command, threads, clock):
        with Selection():
            frame, thread = show(fiber, threads)
            frame.select()
            gdb.write("%s:\n" % title(fiber, clock, frame, thread))
            gdb.execute(command)

    def apply(self, text):
        words = text.split()
        ids = []
        while words and re.fullmatch("[0-9]+|[$].*", words[0]):
            ids.append(self.parse_id(words.pop(0)))
            text = text.split(None, 1)[1] if words else ""
        every = not ids and bool(words) and words[0] == "all"
        if every:
            words.pop(0)
            text = text.split(None, 1)[1] if words else ""
        if not words or not (ids or every):
            fail("Usage: fiber apply all COMMAND, or fiber apply ID... COMMAND")
        layout = Layout()
        clock = Clock(layout)
        threads = Threads()
        for fiber in layout.fibers() if every else (layout.fiber(fiber_id) for fiber_id in ids):
            gdb.write("\n")
            try:
                as_command(lambda: self.run_in(fiber, text, threads, clock))
            except (gdb.error, gdb.GdbError) as error:
                gdb.write("%s: %s\n" % (fiber.header(clock), error))


# "thread" in any form goes back to the thread. Not if somebody else has hooked it: "fiber none" does the same.
def hook_thread_command():
    try:
        gdb.execute("show user hook-thread", to_string=True)
    except gdb.error:
        gdb.execute("define hook-thread\nfiber none\nend", to_string=True)


if not hasattr(gdb, "fiberscope_unwinder"):
    gdb.fiberscope_unwinder = FiberUnwinder()
    gdb.fiberscope_filter = FiberFilter()
    unwinder = gdb.fiberscope_unwinder
    frame_filter = gdb.fiberscope_filter
    register_unwinder(None, unwinder)
    gdb.events.cont.connect(on_continue)
    gdb.events.exited.connect(deselect)
    InfoFibers()
    FiberCommand()
    hook_thread_command()
