// The switch between two stacks, x86-64 SysV. Contract: context_switch.h; frame layout: saved_frame_x86_64.h.
//
// A profiling signal may arrive at any instruction here (half of them do, when fibers switch as fast as they can), so
// the unwind information (CFI) below is exact at each one:
//  - While registers are pushed, it says where each one is, as usual.
//  - Loading the other stack pointer needs no CFI: both stacks have a SavedFrame at that point, so the same rules are
//    true for both. One instruction earlier the walk yields the old fiber's callers, one later the new one's.
//  - A new fiber's first instruction is jumped to. Then its return address has left the stack but still lies below it, in the
//    red zone, which neither the kernel nor a handler on an alternate stack overwrites. The standard rule (return address at
//    CFA - 8) stays true.
//
// The processor predicts each `ret` by the `call` that it remembers last, so calls and returns are kept in balance:
//  - A fiber that was left here is continued by `ret`: all of them left by the same call, so the remembered address is the right
//    one, and the returns that follow find their callers' in order as long as the two fibers waited in the same functions.
//  - A new fiber is jumped to, and when it has ended its entry function returns, and the `ret` here takes the address that the
//    switch to it left.

#include "runtime/stack/saved_frame_x86_64.h"

// Where register REGISTER is, relative to the canonical frame address, once its slot of the frame is written.
#define CFI_SAVED(REGISTER, OFFSET) .cfi_offset REGISTER, (OFFSET) - FIBERSCOPE_FRAME_BYTES

        .text

// void* fiberscope_switch_context(void** save_sp, void* to_sp, void* argument)
//                                 rdi             rsi          rdx             -> rax
        .globl  fiberscope_switch_context
        .type   fiberscope_switch_context, @function
        .p2align 4
fiberscope_switch_context:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%rbp, FIBERSCOPE_FRAME_RBP)
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%rbx, FIBERSCOPE_FRAME_RBX)
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%r12, FIBERSCOPE_FRAME_R12)
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%r13, FIBERSCOPE_FRAME_R13)
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%r14, FIBERSCOPE_FRAME_R14)
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        CFI_SAVED(%r15, FIBERSCOPE_FRAME_R15)

        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        movq    %rdx, %rax
.Lcontinue:
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        leaq    .Lnew_fiber(%rip), %rcx
        cmpq    %rcx, (%rsp)
        je      .Lstart
        ret
.Lstart:
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        jmp     .Lnew_fiber
        .cfi_endproc
        .size   fiberscope_switch_context, . - fiberscope_switch_context

// The outermost frame of every fiber. AtRoot() puts the entry function into r12; rax is the first switch's argument.
// Its return address is undefined: here every unwinder stops, and an exception that gets this far has found no handler.
// The entry function returns where to go on (LastSwitch: rax, rdx). From then on the stack is the other one.
//
// Saved frames continue FIBERSCOPE_ROOT_OFFSET bytes in, behind the nop: an unwinder takes that for a return address and
// looks up the byte before it, which must still belong to this function.
        .globl  fiberscope_fiber_entry
        .type   fiberscope_fiber_entry, @function
        .p2align 4
fiberscope_fiber_entry:
        .cfi_startproc
        .cfi_undefined %rip
        nop
.Lnew_fiber:
        .if     . - fiberscope_fiber_entry - FIBERSCOPE_ROOT_OFFSET
        .error  "FIBERSCOPE_ROOT_OFFSET is not where the nop ends"
        .endif
        movq    %rax, %rdi
        callq   *%r12
        movq    %rax, %rsp
        .cfi_def_cfa %rsp, FIBERSCOPE_FRAME_BYTES
        .cfi_offset %rip, -8
        CFI_SAVED(%rbp, FIBERSCOPE_FRAME_RBP)
        CFI_SAVED(%rbx, FIBERSCOPE_FRAME_RBX)
        CFI_SAVED(%r12, FIBERSCOPE_FRAME_R12)
        CFI_SAVED(%r13, FIBERSCOPE_FRAME_R13)
        CFI_SAVED(%r14, FIBERSCOPE_FRAME_R14)
        CFI_SAVED(%r15, FIBERSCOPE_FRAME_R15)
        movq    %rdx, %rax
        jmp     .Lcontinue
        .cfi_endproc
        .size   fiberscope_fiber_entry, . - fiberscope_fiber_entry

        .section .note.GNU-stack, "", @progbits
