package app.screen

import android.os.Bundle

class Screen(private val model: Model) :
  BaseScreen(model.title),
  Listener {

  private var items: List<Item> = emptyList()

  override fun onCreate(state: Bundle?) {
    super.onCreate(state)
    items = model.items
      .filter { it.visible }
      .sortedBy { it.title }
    if (items.isEmpty()) {
      showEmpty()
    } else {
      showItems(items)
    }
  }

  override fun onItem(item: Item) {
    val title = item.title
      ?: getString(R.string.untitled)
    navigator.open(title) {
      it.animate = true
    }
  }

  private fun count(): Int =
    items.count { it.visible }
}
