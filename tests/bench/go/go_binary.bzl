"""Builds a Go program with the system's compiler (Debian's golang-go): standard library only, no modules, no network."""

def go_binary(name, srcs, **kwargs):
    """An executable from the files of one package main.

    Args:
      name: of the target and of the executable.
      srcs: all files of the package.
      **kwargs: visibility, testonly and the like.
    """
    native.genrule(
        name = name + "_build",
        srcs = srcs,
        outs = [name],
        cmd = " && ".join([
            "cache=$$(mktemp -d)",
            "export HOME=$$cache GOCACHE=$$cache GOPATH=$$cache/go GO111MODULE=off GOFLAGS= GOPROXY=off GOTOOLCHAIN=local",
            "go build -gcflags=-trimpath=$$PWD -o $@ $(SRCS)",
            "rm -rf $$cache",
        ]),
        executable = True,
        message = "Building Go program",
        **kwargs
    )
