# The workloads on the BEAM: elixir beam.exs WORKLOAD SIZE
# Prints a line of JSON with microseconds per operation on stderr; reports of crashes, where a
# workload has them written, go to stdout as they do by default.

defmodule Bench.Counter do
  use GenServer
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)
  def init({count, parent}), do: {:ok, {count, parent}}
  def handle_cast(_message, {1, parent}) do
    send(parent, :done)
    {:noreply, {0, parent}}
  end
  def handle_cast(_message, {left, parent}), do: {:noreply, {left - 1, parent}}
end

defmodule Bench.Echo do
  use GenServer
  def init(arg), do: {:ok, arg}
  def handle_call(message, _from, state), do: {:reply, message, state}
end

defmodule Bench.Idle do
  use GenServer
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)
  def init(arg), do: {:ok, arg}
end

defmodule Bench.Fragile do
  use GenServer
  def start_link(parent), do: GenServer.start_link(__MODULE__, parent)
  def init(parent) do
    send(parent, {:started, self()})
    {:ok, parent}
  end
  def handle_cast(message, _parent), do: raise(ArgumentError, message)
end

defmodule Bench.Member do
  use GenServer
  def init(parent), do: {:ok, {nil, parent}}
  def handle_call({:next, pid}, _from, {_, parent}), do: {:reply, :ok, {pid, parent}}
  def handle_cast(0, {next, parent}) do
    send(parent, :done)
    {:noreply, {next, parent}}
  end
  def handle_cast(left, {next, parent}) do
    GenServer.cast(next, left - 1)
    {:noreply, {next, parent}}
  end
end

defmodule Bench.Subscriber do
  use GenServer
  def init({registry, counter, parent}) do
    {:ok, _} = Registry.register(registry, "news", nil)
    {:ok, {counter, parent}}
  end
  def handle_info(_event, {counter, parent}) do
    if :atomics.sub_get(counter, 1, 1) == 0, do: send(parent, :done)
    {:noreply, {counter, parent}}
  end
end

defmodule Bench do
  @subscribers 1000

  def micros(function, operations) do
    {time, result} = :timer.tc(function)
    {time / operations, result}
  end

  def run("tell", count) do
    {:ok, pid} = Bench.Counter.start_link({count, self()})
    {time, _} =
      micros(
        fn ->
          Enum.each(1..count, fn number -> GenServer.cast(pid, number) end)
          receive do
            :done -> :ok
          end
        end,
        count
      )
    GenServer.stop(pid)
    %{time: time}
  end

  def run("ask", count) do
    {:ok, pid} = GenServer.start_link(Bench.Echo, nil)
    {time, _} =
      micros(fn -> Enum.each(1..count, fn number -> GenServer.call(pid, number) end) end, count)
    GenServer.stop(pid)
    %{time: time}
  end

  def run("ping_pong", hops), do: relay(2, hops)
  def run("ring", hops), do: relay(1000, hops)

  def run("spawn", count) do
    {sup, start} = start_children(count)
    {stop, _} = micros(fn -> DynamicSupervisor.stop(sup) end, count)
    %{time: start + stop, start: start, stop: stop}
  end

  # Stopping 100,000 takes a minute.
  def run("start", count) do
    {_sup, start} = start_children(count)
    %{start: start}
  end

  def run("spawn_memory", count) do
    {:ok, sup} = DynamicSupervisor.start_link(strategy: :one_for_one)
    spec = Supervisor.child_spec({Bench.Idle, nil}, [])
    before = :erlang.memory(:total)
    Enum.each(1..count, fn _ -> {:ok, _} = DynamicSupervisor.start_child(sup, spec) end)
    memory = (:erlang.memory(:total) - before) / count / 1000
    %{memory: memory}
  end

  def run("skynet", leaves) do
    parent = self()
    {time, total} =
      micros(
        fn ->
          spawn(fn -> knot(parent, 0, leaves) end)
          receive do
            {:sum, sum} -> sum
          end
        end,
        leaves
      )
    ^total = div(leaves * (leaves - 1), 2)
    %{time: time}
  end

  def run("restart", count), do: restart(count)
  def run("restart_silent", count) do
    :logger.set_primary_config(:level, :none)
    restart(count)
  end

  def run("fan_out", events), do: fan_out(events, 1)
  def run("fan_out_burst", events), do: fan_out(events, events)

  defp restart(count) do
    parent = self()
    {:ok, sup} =
      Supervisor.start_link([{Bench.Fragile, parent}],
        strategy: :one_for_one, max_restarts: 1_000_000, max_seconds: 1)
    {time, _} = micros(fn -> crash(started(), count) end, count)
    Supervisor.stop(sup)
    %{time: time}
  end

  defp start_children(count) do
    {:ok, sup} = DynamicSupervisor.start_link(strategy: :one_for_one)
    spec = Supervisor.child_spec({Bench.Idle, nil}, [])
    {start, _} =
      micros(
        fn -> Enum.each(1..count, fn _ -> {:ok, _} = DynamicSupervisor.start_child(sup, spec) end) end,
        count
      )
    {sup, start}
  end

  defp relay(members, hops) do
    parent = self()
    pids = for _ <- 1..members, do: elem(GenServer.start_link(Bench.Member, parent), 1)
    pids
    |> Enum.zip(tl(pids) ++ [hd(pids)])
    |> Enum.each(fn {pid, next} -> :ok = GenServer.call(pid, {:next, next}) end)
    {time, _} =
      micros(
        fn ->
          GenServer.cast(hd(pids), hops)
          receive do
            :done -> :ok
          end
        end,
        hops
      )
    Enum.each(pids, &GenServer.stop/1)
    %{time: time}
  end

  defp knot(parent, number, 1), do: send(parent, {:sum, number})
  defp knot(parent, number, leaves) do
    me = self()
    share = div(leaves, 10)
    Enum.each(0..9, fn child -> spawn(fn -> knot(me, number + child * share, share) end) end)
    send(parent, {:sum, gather(10, 0)})
  end

  defp gather(0, total), do: total
  defp gather(left, total) do
    receive do
      {:sum, sum} -> gather(left - 1, total + sum)
    end
  end

  defp started do
    receive do
      {:started, pid} -> pid
    end
  end

  defp crash(_pid, 0), do: :ok
  defp crash(pid, left) do
    GenServer.cast(pid, "crash")
    crash(started(), left - 1)
  end

  defp fan_out(events, batch) do
    registry = :"news#{System.unique_integer([:positive])}"
    {:ok, registry_pid} = Registry.start_link(keys: :duplicate, name: registry)
    counter = :atomics.new(1, [])
    parent = self()
    pids =
      for _ <- 1..@subscribers do
        elem(GenServer.start_link(Bench.Subscriber, {registry, counter, parent}), 1)
      end
    {time, _} =
      micros(
        fn ->
          Enum.each(1..div(events, batch), fn _ ->
            :atomics.put(counter, 1, batch * @subscribers)
            Enum.each(1..batch, fn number ->
              Registry.dispatch(registry, "news", fn entries ->
                for {pid, _} <- entries, do: send(pid, number)
              end)
            end)
            receive do
              :done -> :ok
            end
          end)
        end,
        events * @subscribers
      )
    Enum.each(pids, &GenServer.stop/1)
    Supervisor.stop(registry_pid)
    %{time: time}
  end

  def main([workload, size]) do
    size = String.to_integer(size)
    # Once to warm up: not more than a tenth of the work, and enough to load every module.
    run(workload, warm_up(workload, size))
    :erlang.garbage_collect()
    figures = run(workload, size)
    body = Enum.map_join(figures, ", ", fn {name, value} -> "\"#{name}\": #{value}" end)
    IO.puts(:stderr, "{#{body}}")
  end

  defp warm_up("skynet", size), do: min(size, 1000)
  defp warm_up(_workload, size), do: max(div(size, 10), 1)
end

Process.flag(:trap_exit, true)
Bench.main(System.argv())
