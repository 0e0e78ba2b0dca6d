package shop.orders;

import java.util.List;
import java.util.stream.Collectors;

public class Orders {
    private final List<Order> orders;

    public Orders(List<Order> orders) {
        this.orders = orders;
    }

    @Override
    public String toString() {
        return orders.stream()
                .map(Order::title)
                .collect(Collectors.joining(", "));
    }

    @Override
    public int hashCode() {
        int result = 17;
        for (Order order : orders) {
            result = 31 * result + order.hashCode();
        }
        return result;
    }

    /**
     * The orders of one customer.
     */
    public List<Order> of(Customer customer) {
        if (customer == null) {
            throw new IllegalArgumentException("no customer");
        }
        return orders.stream()
                .filter(order -> order.customer().equals(customer))
                .collect(Collectors.toList());
    }

    /**
     * What all of them cost, in cents.
     */
    public long total() {
        long total = 0;
        for (Order order : orders) {
            total += order.price() * order.count();
        }
        return total;
    }
}
