// void* fiberscope_test_switch_with_registers(void** save_sp, void* to_sp, const uint64_t values[6], uint64_t seen[6])
//
// Loads rbx, rbp, r12, r13, r14, r15 from `values`, switches, and stores what they hold afterwards in `seen`. The target
// is given `values` as its argument.

        .text
        .globl  fiberscope_test_switch_with_registers
        .type   fiberscope_test_switch_with_registers, @function
        .p2align 4
fiberscope_test_switch_with_registers:
        .cfi_startproc
        .irp    register, %rbx, %rbp, %r12, %r13, %r14, %r15
        pushq   \register
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset \register, 0
        .endr
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        movq    (%rdx), %rbx
        movq    8(%rdx), %rbp
        movq    16(%rdx), %r12
        movq    24(%rdx), %r13
        movq    32(%rdx), %r14
        movq    40(%rdx), %r15
        callq   fiberscope_switch_context
        movq    (%rsp), %rcx
        movq    %rbx, (%rcx)
        movq    %rbp, 8(%rcx)
        movq    %r12, 16(%rcx)
        movq    %r13, 24(%rcx)
        movq    %r14, 32(%rcx)
        movq    %r15, 40(%rcx)
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .irp    register, %r15, %r14, %r13, %r12, %rbp, %rbx
        popq    \register
        .cfi_adjust_cfa_offset -8
        .cfi_restore \register
        .endr
        ret
        .cfi_endproc
        .size   fiberscope_test_switch_with_registers, . - fiberscope_test_switch_with_registers

        .section .note.GNU-stack, "", @progbits
