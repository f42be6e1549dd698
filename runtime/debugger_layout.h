// Where a debugger finds the fibers of a process or of its core file, without our debug information and without running
// code.
//
// A program built with -g1, or stripped, does not tell a debugger its types. So the runtime carries this description of
// itself: the addresses where reading begins, the offsets of the fields that matter, and the names of states and
// reasons. It is constant; nothing at run time reads or writes it. runtime/gdb/fiberscope.py is its reader.
//
// To be found as the symbol fiberscope_debugger_layout, or, when the program was stripped of its symbols, by the
// section "fiberscope_layout", which holds nothing else. There is one in each process that links the runtime.
//
// Versions: a reader knows one version and refuses all others. Whatever changes what a reader must do raises kVersion:
// another order or meaning of the members here, of the state word, of the slab directory, of what lies at a saved stack
// pointer. Other offsets, sizes, names, states and reasons do not.
//
// All members are little-endian and naturally aligned; pointers have 64 bits. Offsets are in bytes.
#ifndef FIBERSCOPE_RUNTIME_DEBUGGER_LAYOUT_H_
#define FIBERSCOPE_RUNTIME_DEBUGGER_LAYOUT_H_

#include <cstdint>

#include "runtime/stack/saved_frame.h"

namespace fiberscope::internal {

struct DebuggerLayout {
  static constexpr uint32_t kVersion = 1;

  char magic[8];     // "fbrscope", without an end
  uint32_t version;  // kVersion
  uint32_t bytes;    // sizeof(DebuggerLayout)

  // The slab directory: class_count rows of slabs_per_class pointers to slabs, each row up to its first null.
  const void* slabs;
  const uint32_t* blocks_per_slab;  // of each class
  uint32_t class_count;
  uint32_t slabs_per_class;

  // A control block. In use while `id` is not 0 and the state is not dead_state.
  uint32_t block_bytes;
  uint32_t saved_sp;          // pointer
  uint32_t state;             // 64 bits: the state in the highest state_bits, then a sequence number
  uint32_t wait_reason;       // 8 bits; meaningful in waiting_state
  uint32_t since_ns;          // 64 bits, CLOCK_MONOTONIC; in waiting_state and blocking_state
  uint32_t locked_to_thread;  // 8 bits, 0 or 1
  uint32_t id;                // 64 bits
  uint32_t parent_id;         // 64 bits; 0: spawned by a plain thread
  uint32_t creator_pc;        // pointer: return address of the call to Spawn
  uint32_t entry_pc;          // pointer
  uint32_t name;              // name_bytes characters, of which zeros at the end are not part of the name
  uint32_t name_bytes;
  uint32_t stack_high;   // pointer; the stack is [stack_high - stack_bytes, stack_high)
  uint32_t stack_bytes;  // 32 bits

  // States, by number. In running_state and blocking_state the fiber is on a thread, and saved_sp is not of use; but a
  // thread may be stopped just before or after a switch: when no thread is on a running fiber's stack, saved_sp is
  // right.
  uint32_t state_bits;
  uint32_t state_count;
  const char* const* state_names;
  uint32_t dead_state;
  uint32_t running_state;
  uint32_t waiting_state;
  uint32_t blocking_state;

  const char* const* wait_reason_names;
  uint32_t wait_reason_count;

  // What lies at saved_sp. The first register is the program counter, a return address; the stack pointer's value is
  // saved_sp + saved_frame_bytes.
  uint32_t saved_register_count;
  const SavedRegister* saved_registers;
  const char* stack_pointer_name;
  uint32_t saved_frame_bytes;

  uint32_t reserved;
  // The path of debugger_layout.cc as debug information has it: tells which functions are the runtime's own.
  const char* source_file;
};

}  // namespace fiberscope::internal

extern "C" const fiberscope::internal::DebuggerLayout fiberscope_debugger_layout;

#endif  // FIBERSCOPE_RUNTIME_DEBUGGER_LAYOUT_H_
