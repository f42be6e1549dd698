// The switch between two stacks, aarch64 (AAPCS64). Contract: context_switch.h; frame layout: saved_frame_aarch64.h.
//
// As on x86-64, a signal may arrive at any instruction, so the unwind information (CFI) is exact at each one, and
// loading the other stack pointer needs none because both stacks have a SavedFrame at that point. From there on x30 is
// restored first: the return address of the new stack is then in the frame and in the register, and both rules are true.
//
// Calls and returns are kept in balance for the return stack's sake, as described for x86-64.

#include "runtime/stack/saved_frame_aarch64.h"

#define CFI_SAVED(REGISTER, OFFSET) .cfi_offset REGISTER, (OFFSET) - FIBERSCOPE_FRAME_BYTES

// Two neighbours of the frame, stored and loaded in one instruction each; the CFI is true from the next one on.
#define SAVE(FIRST, SECOND, OFFSET)                \
        stp     FIRST, SECOND, [sp, OFFSET];       \
        CFI_SAVED(FIRST, OFFSET);                  \
        CFI_SAVED(SECOND, OFFSET + 8)
#define RESTORE(FIRST, SECOND, OFFSET)             \
        ldp     FIRST, SECOND, [sp, OFFSET];       \
        .cfi_restore FIRST;                        \
        .cfi_restore SECOND

        .text

// void* fiberscope_switch_context(void** save_sp, void* to_sp, void* argument)
//                                 x0              x1           x2              -> x0
        .globl  fiberscope_switch_context
        .type   fiberscope_switch_context, %function
        .p2align 4
fiberscope_switch_context:
        .cfi_startproc
        sub     sp, sp, FIBERSCOPE_FRAME_BYTES
        .cfi_def_cfa_offset FIBERSCOPE_FRAME_BYTES
        SAVE(d8, d9, FIBERSCOPE_FRAME_D8)
        SAVE(d10, d11, FIBERSCOPE_FRAME_D10)
        SAVE(d12, d13, FIBERSCOPE_FRAME_D12)
        SAVE(d14, d15, FIBERSCOPE_FRAME_D14)
        SAVE(x19, x20, FIBERSCOPE_FRAME_X19)
        SAVE(x21, x22, FIBERSCOPE_FRAME_X21)
        SAVE(x23, x24, FIBERSCOPE_FRAME_X23)
        SAVE(x25, x26, FIBERSCOPE_FRAME_X25)
        SAVE(x27, x28, FIBERSCOPE_FRAME_X27)
        SAVE(x29, x30, FIBERSCOPE_FRAME_X29)

        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        mov     x0, x2
.Lcontinue:
        RESTORE(x29, x30, FIBERSCOPE_FRAME_X29)
        RESTORE(x27, x28, FIBERSCOPE_FRAME_X27)
        RESTORE(x25, x26, FIBERSCOPE_FRAME_X25)
        RESTORE(x23, x24, FIBERSCOPE_FRAME_X23)
        RESTORE(x21, x22, FIBERSCOPE_FRAME_X21)
        RESTORE(x19, x20, FIBERSCOPE_FRAME_X19)
        RESTORE(d14, d15, FIBERSCOPE_FRAME_D14)
        RESTORE(d12, d13, FIBERSCOPE_FRAME_D12)
        RESTORE(d10, d11, FIBERSCOPE_FRAME_D10)
        RESTORE(d8, d9, FIBERSCOPE_FRAME_D8)
        add     sp, sp, FIBERSCOPE_FRAME_BYTES
        .cfi_def_cfa_offset 0
        adr     x9, .Lnew_fiber
        cmp     x9, x30
        b.eq    .Lnew_fiber
        ret
        .cfi_endproc
        .size   fiberscope_switch_context, . - fiberscope_switch_context

// The outermost frame of every fiber. AtRoot() puts the entry function into x19; x0 is the first switch's argument.
// Its return address is undefined: here every unwinder stops, and an exception that gets this far has found no handler.
// The entry function returns where to go on (LastSwitch: x0, x1). From then on the stack is the other one.
//
// Saved frames continue FIBERSCOPE_ROOT_OFFSET bytes in, behind the nop: an unwinder takes that for a return address and
// looks up the instruction before it, which must still belong to this function.
        .globl  fiberscope_fiber_entry
        .type   fiberscope_fiber_entry, %function
        .p2align 4
fiberscope_fiber_entry:
        .cfi_startproc
        .cfi_undefined x30
        nop
.Lnew_fiber:
        .if     . - fiberscope_fiber_entry - FIBERSCOPE_ROOT_OFFSET
        .error  "FIBERSCOPE_ROOT_OFFSET is not where the nop ends"
        .endif
        blr     x19
        mov     sp, x0
        .cfi_def_cfa sp, FIBERSCOPE_FRAME_BYTES
        CFI_SAVED(x29, FIBERSCOPE_FRAME_X29)
        CFI_SAVED(x30, FIBERSCOPE_FRAME_X29 + 8)
        CFI_SAVED(x27, FIBERSCOPE_FRAME_X27)
        CFI_SAVED(x28, FIBERSCOPE_FRAME_X27 + 8)
        CFI_SAVED(x25, FIBERSCOPE_FRAME_X25)
        CFI_SAVED(x26, FIBERSCOPE_FRAME_X25 + 8)
        CFI_SAVED(x23, FIBERSCOPE_FRAME_X23)
        CFI_SAVED(x24, FIBERSCOPE_FRAME_X23 + 8)
        CFI_SAVED(x21, FIBERSCOPE_FRAME_X21)
        CFI_SAVED(x22, FIBERSCOPE_FRAME_X21 + 8)
        CFI_SAVED(x19, FIBERSCOPE_FRAME_X19)
        CFI_SAVED(x20, FIBERSCOPE_FRAME_X19 + 8)
        CFI_SAVED(d14, FIBERSCOPE_FRAME_D14)
        CFI_SAVED(d15, FIBERSCOPE_FRAME_D14 + 8)
        CFI_SAVED(d12, FIBERSCOPE_FRAME_D12)
        CFI_SAVED(d13, FIBERSCOPE_FRAME_D12 + 8)
        CFI_SAVED(d10, FIBERSCOPE_FRAME_D10)
        CFI_SAVED(d11, FIBERSCOPE_FRAME_D10 + 8)
        CFI_SAVED(d8, FIBERSCOPE_FRAME_D8)
        CFI_SAVED(d9, FIBERSCOPE_FRAME_D8 + 8)
        mov     x0, x1
        b       .Lcontinue
        .cfi_endproc
        .size   fiberscope_fiber_entry, . - fiberscope_fiber_entry

        .section .note.GNU-stack, "", %progbits
