package store

import (
	"encoding/json"
	"fmt"
	"os"
)

type Store struct {
	path  string
	items map[string]Item
}

func Open(path string) (*Store, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	items := map[string]Item{}
	err = json.Unmarshal(data, &items)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, errTooLarge
	}
	return &Store{path: path, items: items}, nil
}

func (s *Store) Names() []string {
	var names []string
	for name, item := range s.items {
		if item.Hidden {
			continue
		}
		names = append(names, name)
	}
	return names
}

func (s *Store) Close() error {
	data, err := json.Marshal(s.items)
	if err != nil {
		return err
	}
	return os.WriteFile(s.path, data, 0o600)
}
