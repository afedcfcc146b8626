// A peer of the interop tests: callers of Go's clientv3/concurrency that wait in the queues of the locker.
//
// It reads orders as lines of JSON, and prints a step for each result. Each caller has a session, and thus a lease, of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

type order struct {
	Do     string `json:"do"`
	Caller string `json:"caller"`
	// The path of the queue, with the prefix of the locker.
	Path string `json:"path"`
	// What the caller uses: "mutex", "try" or "election".
	How   string `json:"how"`
	Value string `json:"value"`

	// For "count".
	File  string `json:"file"`
	Times int    `json:"times"`
}

type peer struct {
	client     *clientv3.Client
	ttlSeconds int

	mu      sync.Mutex
	callers map[string]*caller
}

type caller struct {
	session *concurrency.Session
	cancel  context.CancelFunc
	release func(context.Context) error
}

var printing sync.Mutex

func say(step string) {
	line, _ := json.Marshal(map[string]string{"step": step})
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

// main takes the hosts, separated by commas, and the TTL in seconds.
func main() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   strings.Split(os.Args[1], ","),
		Logger:      zap.NewNop(),
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ttlSeconds, _ := strconv.Atoi(os.Args[2])
	p := &peer{client: client, ttlSeconds: ttlSeconds, callers: map[string]*caller{}}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// In parallel, because a caller that waits must not delay the others.
		go func() {
			if err := p.carryOut(o); err != nil {
				say("failed " + o.Caller + ": " + err.Error())
			}
		}()
	}
	p.close()
}

func (p *peer) carryOut(o order) error {
	switch o.Do {
	case "lock":
		return p.lock(o)
	case "release":
		c := p.caller(o)
		if err := c.release(context.Background()); err != nil {
			return err
		}
		say("released " + o.Caller)
		return c.session.Close()
	case "cancel":
		p.caller(o).cancel()
		return nil
	case "revoke":
		_, err := p.client.Revoke(context.Background(), p.caller(o).session.Lease())
		return err
	case "leader":
		return p.leader(o)
	case "close":
		p.close()
		os.Exit(0)
	case "count":
		return p.count(o)
	}
	return fmt.Errorf("the peer does not know the order %s", o.Do)
}

func (p *peer) caller(o order) *caller {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.callers[o.Caller]
}

// open makes a session for a new caller, and returns what acquires the lock.
func (p *peer) open(o order) (*caller, func(context.Context) error, context.Context, error) {
	session, err := concurrency.NewSession(p.client, concurrency.WithTTL(p.ttlSeconds))
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{session: session, cancel: cancel}
	var acquire func(context.Context) error
	if o.How == "election" {
		election := concurrency.NewElection(session, o.Path)
		c.release = election.Resign
		acquire = func(ctx context.Context) error { return election.Campaign(ctx, o.Value) }
	} else {
		mutex := concurrency.NewMutex(session, o.Path)
		c.release = mutex.Unlock
		acquire = mutex.Lock
		if o.How == "try" {
			acquire = mutex.TryLock
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.callers[o.Caller] = c
	return c, acquire, ctx, nil
}

func (p *peer) lock(o order) error {
	c, acquire, ctx, err := p.open(o)
	if err != nil {
		return err
	}
	say("opened " + o.Caller)
	err = acquire(ctx)
	if errors.Is(err, concurrency.ErrLocked) {
		say("busy " + o.Caller)
		return c.session.Close()
	}
	if err != nil {
		_ = c.session.Close()
		return err
	}
	say("held " + o.Caller)
	return nil
}

// leader prints the value of the leader of the election.
func (p *peer) leader(o order) error {
	session, err := concurrency.NewSession(p.client, concurrency.WithTTL(p.ttlSeconds))
	if err != nil {
		return err
	}
	defer session.Close()
	response, err := concurrency.NewElection(session, o.Path).Leader(context.Background())
	if err != nil {
		return err
	}
	say("leader " + string(response.Kvs[0].Value))
	return nil
}

// count locks and releases again and again. While it holds, it raises the number in a file, in steps that another holder would break.
func (p *peer) count(o order) error {
	c, acquire, ctx, err := p.open(o)
	if err != nil {
		return err
	}
	for done := 0; done < o.Times; {
		err := acquire(ctx)
		if errors.Is(err, concurrency.ErrLocked) {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(o.File)
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(string(text))
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
		if err := os.WriteFile(o.File, []byte(strconv.Itoa(number+1)), 0o600); err != nil {
			return err
		}
		done++
		if err := c.release(ctx); err != nil {
			return err
		}
	}
	say("counted " + o.Caller)
	return c.session.Close()
}

// close ends all sessions, so that no lease is left.
func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.callers {
		c.cancel()
		_ = c.session.Close()
	}
	_ = p.client.Close()
}
