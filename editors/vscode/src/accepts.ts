/** How much of a suggestion was taken. Knows nothing of VS Code. */

/** A suggestion as it was answered, and where it begins in the document (UTF-16 units). */
export interface Offer<Item> {
  item: Item;
  text: string;
  start: number;
}

/**
 * The offer of which a part was taken, and its length from the offer's start, in UTF-16 units, once the
 * cursor went from `before` to `after`; undefined if what was inserted is the beginning of none.
 */
export function taken<Item>(
  offers: Offer<Item>[],
  text: string,
  before: number,
  after: number,
): { item: Item; acceptedLength: number } | undefined {
  const fits = (offer: Offer<Item>) =>
    offer.start <= before && after > before && offer.text.startsWith(text.slice(offer.start, after));
  const offer = offers.find(fits);
  return offer && { item: offer.item, acceptedLength: after - offer.start };
}
