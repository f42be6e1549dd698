// fiberscope::Registers fiberscope::CaptureRegisters(), unwinder.h. Assembly, because it must see its caller's registers
// before any prologue. Returned in memory: %rdi points at the result, whose layout unwinder.cc asserts.

        .text
        .globl  _ZN10fiberscope16CaptureRegistersEv
        .type   _ZN10fiberscope16CaptureRegistersEv, @function
        .p2align 4
_ZN10fiberscope16CaptureRegistersEv:
        .cfi_startproc
        movq    (%rsp), %rax            // the return address: where the caller goes on
        movq    %rax, 0(%rdi)           // pc
        leaq    8(%rsp), %rax           // its stack pointer there
        movq    %rax, 8(%rdi)           // sp
        movq    %rbp, 16(%rdi)
        movq    %rbx, 24(%rdi)
        movq    %r12, 32(%rdi)
        movq    %r13, 40(%rdi)
        movq    %r14, 48(%rdi)
        movq    %r15, 56(%rdi)
        movb    $0, 64(%rdi)            // pc_is_exact
        movq    %rdi, %rax
        ret
        .cfi_endproc
        .size   _ZN10fiberscope16CaptureRegistersEv, . - _ZN10fiberscope16CaptureRegistersEv

        .section .note.GNU-stack, "", @progbits
