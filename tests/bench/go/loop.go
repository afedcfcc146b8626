package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
)

type turn struct {
	At    float64 `json:"at"`
	Until float64 `json:"until"`
}

// loop has a caller for each name take its lock again and again.
func (w *worker) loop(o order) (answer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()

	time.Sleep(time.Until(time.UnixMicro(int64(o.StartAt * 1000))))
	startedAt, cpu := time.Now(), cpuMs()
	endAt := startedAt.Add(time.Duration(o.Ms * float64(time.Millisecond)))
	var left, operations atomic.Int64
	left.Store(o.AtMost)
	var mu sync.Mutex
	turns := []turn{}
	err := inParallel(len(o.Names), len(o.Names), func(i int) error {
		sessions := w.sessions[i%len(w.clients)]
		session := sessions[(i/len(w.clients))%len(sessions)]
		mutex := concurrency.NewMutex(session, prefix+o.Names[i])
		for time.Now().Before(endAt) && left.Add(-1) >= 0 {
			var one turn
			var err error
			if o.IsShared {
				err = readOrWrite(session, prefix+o.Names[i], i > 0)
			} else {
				one, err = w.once(ctx, mutex, o)
			}
			if err != nil && ctx.Err() != nil {
				return nil // stopped as it waited
			}
			if err != nil {
				return err
			}
			operations.Add(1)
			if o.WithTurns {
				mu.Lock()
				turns = append(turns, one)
				mu.Unlock()
			}
		}
		return nil
	})
	return answer{
		"operations": operations.Load(),
		"ms":         float64(time.Since(startedAt)) / float64(time.Millisecond),
		"cpuMs":      cpuMs() - cpu,
		"turns":      turns,
	}, err
}

func (w *worker) once(ctx context.Context, mutex *concurrency.Mutex, o order) (turn, error) {
	if o.What == "try" {
		err := mutex.TryLock(ctx)
		if errors.Is(err, concurrency.ErrLocked) {
			return turn{}, nil
		}
		if err == nil {
			err = errors.New("the lock should have been held")
		}
		return turn{}, err
	}
	if err := mutex.Lock(ctx); err != nil {
		return turn{}, err
	}
	at := now()
	if o.HoldMs > 0 {
		time.Sleep(time.Duration(o.HoldMs * float64(time.Millisecond)))
	}
	until := now()
	return turn{At: at, Until: until}, mutex.Unlock(context.Background())
}

// readOrWrite takes the name shared or alone. Each time by a mutex of its own, as one remembers what it holds.
func readOrWrite(session *concurrency.Session, name string, isReader bool) error {
	mutex := recipe.NewRWMutex(session, name)
	if isReader {
		if err := mutex.RLock(); err != nil {
			return err
		}
		return mutex.RUnlock()
	}
	if err := mutex.Lock(); err != nil {
		return err
	}
	return mutex.Unlock()
}

// now is in milliseconds, and the same in all processes of this machine.
func now() float64 {
	return float64(time.Now().UnixNano()) / 1e6
}

func cpuMs() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}
