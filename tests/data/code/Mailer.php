<?php

namespace App\Mail;

class Mailer
{
    private array $queue = [];

    /**
     * {@inheritdoc}
     */
    public function push(Message $message): void
    {
        if ($message->isEmpty()) {
            throw new \InvalidArgumentException('An empty message.');
        }
        $this->queue[] = $message;
    }

    /**
     * {@inheritdoc}
     */
    public function flush(): int
    {
        $sent = 0;
        foreach ($this->queue as $message) {
            $this->transport
                ->to($message->recipient())
                ->send($message);
            $sent++;
        }
        $this->queue = [];

        return $sent;
    }

    /**
     * {@inheritdoc}
     */
    public function count(): int
    {
        return count($this->queue);
    }
}
