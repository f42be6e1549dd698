package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// parkedProgram is a running parked_program or its twin.
type parkedProgram struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	address string // of its debug server
}

func startParked(s side, o options, f shape, serve bool) (*parkedProgram, error) {
	arguments := []string{fmt.Sprintf("--fibers=%d", o.fibers), fmt.Sprintf("--depth=%d", f.depth),
		fmt.Sprintf("--stacks=%d", f.stacks), fmt.Sprintf("--serve=%t", serve)}
	p := &parkedProgram{command: exec.Command(o.parkedProgram, arguments...)}
	if s == theirs {
		p.command = exec.Command(o.twin, append([]string{"parked"}, arguments...)...)
	}
	p.command.Stderr = os.Stderr
	var err error
	if p.input, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = bufio.NewReader(output)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	if err := p.expect("started %s", &p.address); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *parkedProgram) pid() int { return p.command.Process.Pid }

// ask sends a line and parses the answer.
func (p *parkedProgram) ask(question, format string, values ...interface{}) error {
	if _, err := fmt.Fprintln(p.input, question); err != nil {
		return err
	}
	return p.expect(format, values...)
}

func (p *parkedProgram) expect(format string, values ...interface{}) error {
	line, err := p.output.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the program ended early: %w", err)
	}
	if _, err := fmt.Sscanf(strings.TrimSpace(line), format, values...); err != nil {
		return fmt.Errorf("unexpected answer %q: %w", line, err)
	}
	return nil
}

// park spawns the fibers and waits until they wait; the CPU time that took.
func (p *parkedProgram) park() (cpuNs float64, err error) {
	err = p.ask("park", "parked %f", &cpuNs)
	return cpuNs, err
}

// finish lets it end by itself and tells whether it did so well.
func (p *parkedProgram) finish() error {
	p.input.Close()
	return p.command.Wait()
}

func (p *parkedProgram) kill() {
	p.command.Process.Kill()
	p.command.Wait()
}

// runParked measures what a parked fiber occupies, by what the process grows from before they are spawned.
func runParked(s side, o options, t *table) error {
	for _, depth := range []int{2, 10} {
		if err := measureParked(s, o, depth, t); err != nil {
			return err
		}
	}
	return nil
}

func measureParked(s side, o options, depth int, t *table) error {
	p, err := startParked(s, o, shape{depth, 1}, false)
	if err != nil {
		return err
	}
	defer p.kill()
	before, err := residentKiB(p.pid())
	if err != nil {
		return err
	}
	cpuNs, err := p.park()
	if err != nil {
		return err
	}
	after, err := residentKiB(p.pid())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("Parked/depth:%d/", depth)
	t.add(s, name+"bytes", (after-before)*1024/float64(o.fibers))
	t.add(s, name+"spawn", cpuNs/float64(o.fibers))
	return p.finish()
}
