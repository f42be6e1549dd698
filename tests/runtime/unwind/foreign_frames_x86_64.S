// foreign_frames.h. The call frame information is what is tested; the code only has to make it true.

        .text

        .globl  CallWithCfaInRbx
        .type   CallWithCfaInRbx, @function
CallWithCfaInRbx:
        .cfi_startproc
        pushq   %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        andq    $-64, %rsp              // by an amount that only rbx remembers
        callq   *%rdi
        movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        popq    %rbx
        .cfi_def_cfa_offset 8
        .cfi_restore %rbx
        ret
        .cfi_endproc
        .size   CallWithCfaInRbx, . - CallWithCfaInRbx

        .globl  CallWithCfaInR12
        .type   CallWithCfaInR12, @function
CallWithCfaInR12:
        .cfi_startproc
        pushq   %r12
        .cfi_def_cfa_offset 16
        .cfi_offset %r12, -16
        movq    %rsp, %r12
        .cfi_def_cfa_register %r12
        andq    $-64, %rsp
        callq   CallWithR12Overwritten
        movq    %r12, %rsp
        .cfi_def_cfa_register %rsp
        popq    %r12
        .cfi_def_cfa_offset 8
        .cfi_restore %r12
        ret
        .cfi_endproc
        .size   CallWithCfaInR12, . - CallWithCfaInR12

        .type   CallWithR12Overwritten, @function
CallWithR12Overwritten:
        .cfi_startproc
        pushq   %r12
        .cfi_def_cfa_offset 16
        .cfi_offset %r12, -16
        movq    $-1, %r12
        callq   *%rdi
        popq    %r12
        .cfi_def_cfa_offset 8
        .cfi_restore %r12
        ret
        .cfi_endproc
        .size   CallWithR12Overwritten, . - CallWithR12Overwritten

        .globl  CallWithCfaByExpression
        .type   CallWithCfaByExpression, @function
CallWithCfaByExpression:
        .cfi_startproc
        subq    $24, %rsp
        .cfi_def_cfa_offset 32
        leaq    32(%rsp), %rax
        shrq    $1, %rax
        movq    %rax, 8(%rsp)
        // DW_CFA_def_cfa_expression, 5 bytes: DW_OP_breg7 (rsp) 8; DW_OP_deref; DW_OP_lit1; DW_OP_shl
        .cfi_escape 0x0f, 5, 0x77, 8, 0x06, 0x31, 0x24
        callq   *%rdi
        addq    $24, %rsp
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   CallWithCfaByExpression, . - CallWithCfaByExpression

        .globl  CallWithMovedReturnAddress
        .type   CallWithMovedReturnAddress, @function
CallWithMovedReturnAddress:
        .cfi_startproc
        popq    %rax
        .cfi_def_cfa_offset 0
        .cfi_register %rip, %rax
        pushq   %r13
        .cfi_def_cfa_offset 8
        .cfi_offset %r13, -8
        movq    %rax, %r13
        .cfi_register %rip, %r13
        subq    $8, %rsp
        .cfi_def_cfa_offset 16
        callq   *%rdi
        addq    $8, %rsp
        .cfi_def_cfa_offset 8
        movq    %r13, %rdx
        .cfi_register %rip, %rdx
        popq    %r13
        .cfi_def_cfa_offset 0
        .cfi_restore %r13
        pushq   %rdx
        .cfi_def_cfa_offset 8
        .cfi_offset %rip, -8
        ret
        .cfi_endproc
        .size   CallWithMovedReturnAddress, . - CallWithMovedReturnAddress

        .globl  CallWithRbpOverwritten
        .type   CallWithRbpOverwritten, @function
CallWithRbpOverwritten:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    $-1, %rbp
        callq   *%rdi
        popq    %rbp
        .cfi_def_cfa_offset 8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   CallWithRbpOverwritten, . - CallWithRbpOverwritten

        .globl  CallThinly
        .type   CallThinly, @function
CallThinly:
        .cfi_startproc
        subq    $8, %rsp
        .cfi_def_cfa_offset 16
        leaq    0f(%rip), %rdi
        movq    %rsp, %rsi
        callq   *g_thin_callee(%rip)
0:      addq    $8, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   CallThinly, . - CallThinly

        .bss
        .globl  g_thin_callee
        .type   g_thin_callee, @object
        .size   g_thin_callee, 8
        .p2align 3
g_thin_callee:
        .zero   8

        .text

        .globl  StartSingleStepping
        .type   StartSingleStepping, @function
StartSingleStepping:
        .cfi_startproc
        pushfq
        .cfi_adjust_cfa_offset 8
        orq     $0x100, (%rsp)
        popfq
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   StartSingleStepping, . - StartSingleStepping

        .globl  StopSingleStepping
        .type   StopSingleStepping, @function
StopSingleStepping:
        .cfi_startproc
        pushfq
        .cfi_adjust_cfa_offset 8
        andq    $~0x100, (%rsp)
        popfq
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   StopSingleStepping, . - StopSingleStepping

        .section .note.GNU-stack, "", @progbits
