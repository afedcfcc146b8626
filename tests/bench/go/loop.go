package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
)

type hold struct {
	At    float64 `json:"at"`
	Until float64 `json:"until"`
}

// loop runs one caller for each name. Each caller locks and releases its name again and again.
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
	holds := []hold{}
	err := inParallel(len(o.Names), len(o.Names), func(i int) error {
		sessions := w.sessions[i%len(w.clients)]
		session := sessions[(i/len(w.clients))%len(sessions)]
		mutexes := []*concurrency.Mutex{concurrency.NewMutex(session, prefix+o.Names[i])}
		if o.Rotation > 0 {
			mutexes = nil
			for n := range o.Rotation {
				mutexes = append(mutexes, concurrency.NewMutex(session, fmt.Sprintf("%s%s-%d", prefix, o.Names[i], n)))
			}
		}
		for turn := 0; time.Now().Before(endAt) && left.Add(-1) >= 0; turn++ {
			var one hold
			var err error
			if o.IsShared {
				err = readOrWrite(session, prefix+o.Names[i], i > 0)
			} else {
				one, err = w.once(ctx, mutexes[turn%len(mutexes)], o)
			}
			if err != nil && ctx.Err() != nil {
				return nil // stopped while it waited
			}
			if err != nil {
				return err
			}
			operations.Add(1)
			if o.RecordsHolds {
				mu.Lock()
				holds = append(holds, one)
				mu.Unlock()
			}
		}
		return nil
	})
	return answer{
		"operations": operations.Load(),
		"ms":         float64(time.Since(startedAt)) / float64(time.Millisecond),
		"cpuMs":      cpuMs() - cpu,
		"holds":      holds,
	}, err
}

func (w *worker) once(ctx context.Context, mutex *concurrency.Mutex, o order) (hold, error) {
	if o.Operation == "try" {
		err := mutex.TryLock(ctx)
		if errors.Is(err, concurrency.ErrLocked) {
			return hold{}, nil
		}
		if err == nil {
			err = errors.New("Cannot measure TryLock: the lock is free")
		}
		return hold{}, err
	}
	if err := mutex.Lock(ctx); err != nil {
		return hold{}, err
	}
	at := now()
	if o.HoldMs > 0 {
		time.Sleep(time.Duration(o.HoldMs * float64(time.Millisecond)))
	}
	until := now()
	return hold{At: at, Until: until}, mutex.Unlock(context.Background())
}

// readOrWrite locks and releases the name, shared or exclusive. A mutex keeps the state of its hold, so each call makes a new one.
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

// now returns milliseconds of a clock that is the same for all processes of this machine.
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
