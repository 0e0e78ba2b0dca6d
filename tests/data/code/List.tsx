import { useEffect, useState } from 'react';
import { fetchItems, type Item } from './api';

interface Props {
  user: string;
  onSelect?: (item: Item) => void;
  limit?:
    | number
    | 'all';
}

const PAGE =
  Number(new URLSearchParams(location.search).get('page')) || 1;

export function List({ user, onSelect, limit = 'all' }: Props) {
  const [items, setItems] = useState<Item[]>([]);
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    fetchItems(user, PAGE)
      .then((found) => setItems(found))
      .catch(() => setFailed(true));
  }, [user]);

  if (failed) {
    return <p className="error">Nothing came.</p>;
  }

  const shown = limit === 'all'
    ? items
    : items.slice(0, limit);

  return (
    <section>
      <h2>{user}</h2>
      <ul className="items">
        {shown.map((item) => (
          <li key={item.id}>
            <button
              type="button"
              onClick={() => onSelect?.(item)}
            >
              {item.title}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
